/** What clients ask of servers in chaos among processes, what they are told, and what they should be. */
import { isDeepStrictEqual } from "node:util";
import { serverEvents, type Server } from "../../gateway/index.ts";
import type { Draw } from "./chaos-schedule.ts";

export interface Asked {
  readonly body: Readonly<Record<string, unknown>>;
  /** Milliseconds after which the client leaves. */
  readonly patience: number | undefined;
}

/** What a client was told. */
export interface Told {
  readonly id: string | undefined;
  /** By choice. */
  readonly texts: readonly string[];
  readonly logprobs: readonly unknown[][];
  readonly finishReasons: readonly (string | null)[];
  readonly usage: Usage | undefined;
  /** Why it ended before its end. */
  readonly error: string | undefined;
}

interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly prompt_cache_hit_tokens: number;
  readonly prompt_cache_miss_tokens: number;
}

const words =
  "once upon a time there was little sheep that knew how to add two numbers and did so".split(" ");

export function drawRequest(draw: Draw): Asked {
  const prompt = Array.from({ length: draw.between(2, 120) }, () => draw.oneOf(words)).join(" ");
  const json = {
    type: "object",
    properties: { n: { type: "integer" }, s: { type: "string", maxLength: 60 } },
    required: ["n", "s"],
  };
  // calf ends soon where nothing keeps it from that.
  const free = { logit_bias: { 0: -100, 1: -100 } };
  const body = {
    ...{ model: "calf", prompt, stream: true, stream_options: { include_usage: true } },
    max_tokens: draw.between(5, 100),
    ...(draw.chance(0.2) && { n: 2 }),
    ...(draw.chance(0.5) ? { temperature: 0.9, seed: draw.below(2 ** 31) } : { temperature: 0 }),
    ...(draw.chance(0.3) && { logprobs: 2 }),
    ...(draw.chance(0.3) && { presence_penalty: 0.5, frequency_penalty: 0.3 }),
    ...draw.oneOf<object>([
      free,
      free,
      free,
      { guided_json: json },
      { guided_regex: "[a-e ]{20,90}" },
    ]),
    ...(draw.chance(0.2) && { stop: ["up", "add"] }),
  };
  return { body, patience: draw.chance(0.15) ? draw.below(2500) : undefined };
}

interface Chunk {
  readonly id: string;
  readonly choices: readonly {
    readonly index: number;
    readonly text: string;
    readonly finish_reason: string | null;
    readonly logprobs?: { readonly tokens: unknown[]; readonly token_logprobs: unknown[] } | null;
  }[];
  readonly usage?: Usage | null;
}

export async function ask(
  { url }: Server,
  { body, patience }: Asked,
  onChunk: () => void = () => undefined,
): Promise<Told> {
  const texts: string[] = [];
  const logprobs: unknown[][] = [];
  const finishReasons: (string | null)[] = [];
  let id: string | undefined;
  let usage: Usage | undefined;
  let error: string | undefined;
  const leave = new AbortController();
  const timer = patience === undefined ? undefined : setTimeout(() => leave.abort(), patience);
  try {
    const response = await fetch(`${url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: leave.signal,
    });
    if (!response.ok) throw new Error(await response.text());
    for await (const chunk of serverEvents<Chunk>(response)) {
      onChunk();
      id = chunk.id;
      usage = chunk.usage ?? usage;
      for (const { index, text, finish_reason, logprobs: told } of chunk.choices) {
        texts[index] = (texts[index] ?? "") + text;
        finishReasons[index] = finish_reason;
        if (told) (logprobs[index] ??= []).push(...told.tokens, ...told.token_logprobs);
      }
    }
    if (!usage) throw new Error("the stream has ended before its end");
  } catch (problem) {
    if (!leave.signal.aborted) error = (problem as Error).message;
  } finally {
    clearTimeout(timer);
  }
  return { id, texts, logprobs, finishReasons, usage, error };
}

/** What an answer should not be; one that was cut is the beginning of the other. */
export async function compare(
  calm: Server,
  { body, patience }: Asked,
  told: Told,
  mayBreak: boolean,
): Promise<string | undefined> {
  const expected = await ask(calm, { body, patience: undefined });
  const what = JSON.stringify(body);
  if (expected.error !== undefined) return `undisturbed: ${expected.error} of ${what}`;
  if (told.error !== undefined && !mayBreak) return `${told.error} of ${what}`;
  if (told.usage) {
    const same = (["texts", "finishReasons", "logprobs"] as const).every((name) =>
      isDeepStrictEqual(told[name], expected[name]),
    );
    const counts = (["prompt_tokens", "completion_tokens"] as const).every(
      (name) => told.usage?.[name] === expected.usage?.[name],
    );
    const { prompt_tokens, prompt_cache_hit_tokens, prompt_cache_miss_tokens } = told.usage;
    const addsUp = prompt_cache_hit_tokens + prompt_cache_miss_tokens === prompt_tokens;
    if (same && counts && addsUp) return undefined;
    return `another answer: ${JSON.stringify([told, expected])} of ${what}`;
  }
  if (patience === undefined && !mayBreak) return `no end of ${what}`;
  const begins = told.texts.every((text, i) => expected.texts[i].startsWith(text));
  return begins ? undefined : `another beginning: ${JSON.stringify([told, expected])} of ${what}`;
}
