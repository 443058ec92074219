import { randomSource } from "../../kernels/index.ts";
import type { TraceRequest } from "../mooncake.ts";

/** A request of a load: what it says and when it is sent. */
export interface LoadRequest {
  /** Milliseconds after the load's start; without it as soon as another has been answered. */
  readonly at?: number;
  readonly prompt: string;
  readonly maxTokens: number;
  /** The same load has the same answers where the server follows seeds. */
  readonly seed: number;
}

/** Tokens of a trace's block, all of them equal where its identifier is. */
const TRACE_BLOCK = 512;

/** Words that most tokenizers know as one token each, with the space before them. */
const WORDS = (
  "the of and to in is was for on as with by at from this that have not are but all one they " +
  "were when their there can more if no out so said what up its about into than them only other " +
  "time new some could these two may first then do any like my now over such our man me even"
).split(" ");

/** Requests of random words, none of which begins as another does. */
export function uniformLoad(sizes: {
  readonly requests: number;
  readonly promptTokens: number;
  readonly maxTokens: number;
}): LoadRequest[] {
  const { requests, promptTokens, maxTokens } = sizes;
  return Array.from({ length: requests }, (_, i) => ({
    prompt: words(i + 1, promptTokens),
    maxTokens,
    seed: i,
  }));
}

/** A trace's requests at its own times; prompts begin alike where their blocks do. */
export function traceLoad(
  trace: readonly TraceRequest[],
  limits: { readonly promptTokens?: number; readonly maxTokens?: number },
): LoadRequest[] {
  const [first] = trace;
  return trace.map(({ at, blocks, promptTokens, answerTokens }, i) => ({
    at: at - first.at,
    prompt: blocks
      .map((block) => words(block + 1, TRACE_BLOCK))
      .join(" ")
      .split(" ", Math.min(promptTokens, limits.promptTokens ?? promptTokens))
      .join(" "),
    maxTokens: Math.max(1, Math.min(answerTokens, limits.maxTokens ?? answerTokens)),
    seed: i,
  }));
}

function words(seed: number, count: number): string {
  const random = randomSource(Math.imul(seed, 0x9e3779b1));
  return Array.from({ length: count }, () => WORDS[Math.floor(random() * WORDS.length)]).join(" ");
}
