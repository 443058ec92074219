import type { AnswerHead } from "./chat-answer.ts";
import type { PlacedToken } from "./choice-output.ts";
import type { ChoiceEvent, Generation } from "./generation.ts";
import { completionLogprobs } from "./logprobs.ts";
import type { Completion } from "../wire.ts";

export interface CompletionAnswerOptions {
  readonly head: AnswerHead;
  readonly choices: number;
  /** What each choice's text begins with; none where the prompt is not echoed. */
  readonly beginnings: readonly string[];
  readonly includeUsage: boolean;
  /** Alternatives per token; undefined reports no logprobs. */
  readonly logprobs: number | undefined;
  readonly tokenBytes: (token: number) => Uint8Array;
}

type Choice = Completion["choices"][number];

/** The answer as it comes, in OpenAI's chunks. */
export async function* completionChunks(
  generation: Generation,
  options: CompletionAnswerOptions,
): AsyncGenerator<Completion> {
  const head = { ...options.head, object: "text_completion" as const };
  const noUsage = options.includeUsage ? { usage: null } : {};
  for (const [index, text] of options.beginnings.entries()) {
    const choice: Choice = { index, text, logprobs: null, finish_reason: null };
    yield { ...head, choices: [choice], ...noUsage };
  }
  for await (const event of generation.events()) {
    const { choice: index } = event;
    const { text, tokens } = textOf(event);
    const finish_reason = event.kind === "finished" ? finishOf(event.reason) : null;
    const logprobs = logprobsOf(tokens, options);
    const choice: Choice = { index, text, logprobs, finish_reason };
    yield { ...head, choices: [choice], ...noUsage };
  }
  if (options.includeUsage) yield { ...head, choices: [], usage: generation.usage() };
}

/** The answer when it is complete. */
export async function completion(
  generation: Generation,
  options: CompletionAnswerOptions,
): Promise<Completion> {
  const drafts = Array.from({ length: options.choices }, (_, index) => ({
    text: options.beginnings[index] ?? "",
    tokens: [] as PlacedToken[],
    finish_reason: "stop" as Choice["finish_reason"],
  }));
  for await (const event of generation.events()) {
    const draft = drafts[event.choice];
    const { text, tokens } = textOf(event);
    draft.text += text;
    draft.tokens.push(...tokens);
    if (event.kind === "finished") draft.finish_reason = finishOf(event.reason);
  }
  return {
    ...options.head,
    object: "text_completion",
    choices: drafts.map(({ text, tokens, finish_reason }, index) => ({
      index,
      text,
      logprobs: logprobsOf(tokens, options),
      finish_reason,
    })),
    usage: generation.usage(),
  };
}

function textOf(event: ChoiceEvent): { text: string; tokens: readonly PlacedToken[] } {
  if (event.kind === "delta" && event.delta.kind === "content") return event.delta;
  return { text: "", tokens: [] };
}

const finishOf = (reason: "stop" | "length" | "tool_calls") =>
  reason === "length" ? reason : "stop";

const logprobsOf = (tokens: readonly PlacedToken[], options: CompletionAnswerOptions) =>
  options.logprobs === undefined
    ? null
    : completionLogprobs(tokens, options.logprobs > 0, options.tokenBytes);
