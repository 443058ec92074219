import type { PlacedToken } from "./choice-output.ts";
import type { ChatLogprob, CompletionLogprobs } from "../wire.ts";

/** OpenAI's stand-in for what has no finite logarithm. */
const LEAST_LOGPROB = -9999;
const finite = (logprob = LEAST_LOGPROB) => Math.max(logprob, LEAST_LOGPROB);

type TokenBytes = (token: number) => Uint8Array;

/** Chat's form: every token with its bytes and its alternatives. */
export function chatLogprob({ token: event }: PlacedToken, tokenBytes: TokenBytes): ChatLogprob {
  const entry = (token: number, logprob: number | undefined) => {
    const bytes = tokenBytes(token);
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    return { token: text, logprob: finite(logprob), bytes: [...bytes] };
  };
  return {
    ...entry(event.token, event.logprob),
    top_logprobs: event.top.map(({ token, logprob }) => entry(token, logprob)),
  };
}

/** The older form: parallel arrays. `top` asks for alternatives, the chosen token among them. */
export function completionLogprobs(
  tokens: readonly PlacedToken[],
  top: boolean,
  tokenBytes: TokenBytes,
): CompletionLogprobs {
  const text = (token: number) => tokenKey(tokenBytes(token));
  return {
    tokens: tokens.map(({ token }) => text(token.token)),
    token_logprobs: tokens.map(({ token }) => finite(token.logprob)),
    top_logprobs: top
      ? tokens.map(({ token }) =>
          Object.fromEntries(
            [...token.top, token].map((each) => [text(each.token), finite(each.logprob)]),
          ),
        )
      : null,
    text_offset: tokens.map(({ offset }) => offset),
  };
}

/** A token as a key: its text, or its bytes where they are only part of a character. */
function tokenKey(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return `bytes:${[...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}`;
  }
}
