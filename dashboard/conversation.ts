import type { ChatCompletionChunk } from "../src/gateway/wire.ts";
import { ask, events } from "./server.ts";

export interface Turn {
  readonly question: string;
  readonly thinking: string;
  readonly answer: string;
  /** How it ended: usage, or what went wrong. Undefined while it goes on. */
  readonly note?: string;
}

export interface Question {
  readonly model: string;
  readonly apiKey: string;
  readonly thinks: boolean;
  /** Turns before this one, oldest first. */
  readonly before: readonly Turn[];
  readonly text: string;
  readonly signal: AbortSignal;
}

type Chunk = ChatCompletionChunk | { readonly error: { readonly message: string } };

/** The turn as it grows, a word at a time. @throws ServerError, or as fetch when it is aborted. */
export async function* converse(question: Question): AsyncGenerator<Turn> {
  const { model, apiKey, thinks, before, text, signal } = question;
  const response = await ask("/v1/chat/completions", apiKey, {
    method: "POST",
    headers: { "content-type": "application/json" },
    signal,
    body: JSON.stringify({
      model,
      messages: [...before.flatMap(messagesOf), { role: "user", content: text }],
      thinking: { type: thinks ? "enabled" : "disabled" },
      stream: true,
      stream_options: { include_usage: true },
    }),
  });
  let turn: Turn = { question: text, thinking: "", answer: "" };
  let note = "done";
  for await (const chunk of events<Chunk>(response)) {
    if ("error" in chunk) throw new Error(chunk.error.message);
    for (const { delta } of chunk.choices) {
      turn = {
        question: text,
        thinking: turn.thinking + (delta.reasoning_content ?? delta.reasoning ?? ""),
        answer: turn.answer + (delta.content ?? ""),
      };
      yield turn;
    }
    if (chunk.usage) note = noteOf(chunk.usage);
  }
  yield { ...turn, note };
}

const messagesOf = ({ question, answer }: Turn) => [
  { role: "user", content: question },
  { role: "assistant", content: answer },
];

function noteOf(usage: NonNullable<ChatCompletionChunk["usage"]>): string {
  const { prompt_tokens, prompt_cache_hit_tokens, completion_tokens } = usage;
  return `${prompt_tokens} tokens in, ${prompt_cache_hit_tokens} of them from the cache · ${completion_tokens} out`;
}
