import { coversPages } from "../kv-cache/index.ts";
import type { AskedRequest, EngineLimits, GenerationRequest } from "./messages.ts";

/** What keeps a request from being computed, by the field that is wrong. */
export function problemWith(asked: AskedRequest, limits: EngineLimits): string | undefined {
  const { vocabSize } = limits;
  const { maxTokens, sampling } = asked;
  const prompt = promptProblem(asked, limits);
  if (prompt !== undefined) return prompt;
  if (!Number.isInteger(maxTokens) || maxTokens < 1) {
    return `maxTokens: expected a positive whole number, got ${maxTokens}`;
  }
  const { generated = 0 } = asked;
  if (generated >= Math.min(asked.prompt.length, maxTokens)) {
    return `generated: expected less than ${asked.prompt.length} and ${maxTokens}, got ${generated}`;
  }
  const biased = Object.keys(sampling.logitBias).find(
    (token) => !isToken(Number(token), vocabSize),
  );
  if (biased !== undefined) return `logitBias: expected tokens below ${vocabSize}, got ${biased}`;
  const barred = sampling.barred?.tokens.find((token) => !isToken(token, vocabSize));
  if (barred !== undefined) return `barred: expected tokens below ${vocabSize}, got ${barred}`;
  return undefined;
}

/** What is wrong with the prompt alone, which nobody is sent then. */
export function promptProblem(
  { prompt, blockKeys }: AskedRequest,
  { maxModelLen, limitedBy, vocabSize }: EngineLimits,
): string | undefined {
  if (prompt.length === 0) return "prompt: expected at least one token";
  if (prompt.length >= maxModelLen) {
    return (
      `prompt: ${prompt.length} tokens leave no room in a context of ${maxModelLen}` +
      (limitedBy === undefined ? "" : ` (${limitedBy})`)
    );
  }
  const wrong = prompt.find((token) => !isToken(token, vocabSize));
  if (wrong !== undefined) return `prompt: expected tokens below ${vocabSize}, got ${wrong}`;
  if (blockKeys && !coversPages(blockKeys, prompt.length)) {
    return `blockKeys: ${blockKeys.length} bytes do not fit ${prompt.length} tokens`;
  }
  return undefined;
}

/** The request as the engine keeps it, of one without a problem: other ids would wrap. */
export function admitted(asked: AskedRequest): GenerationRequest {
  const { prompt } = asked;
  return { ...asked, prompt: prompt instanceof Uint32Array ? prompt : Uint32Array.from(prompt) };
}

const isToken = (token: number, vocabSize: number) =>
  Number.isInteger(token) && token >= 0 && token < vocabSize;
