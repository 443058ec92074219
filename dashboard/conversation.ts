import type { ChatCompletionChunk } from "../src/gateway/wire.ts";
import { ask, events } from "./server.ts";

export interface Turn {
  readonly question: string;
  readonly thinking: string;
  readonly answer: string;
  /** `live` while it goes on; a stopped one has said something, a failed one may have. */
  readonly state: "live" | "done" | "stopped" | "failed";
  /** Usage, or what went wrong. */
  readonly note: string;
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

interface Message {
  readonly role: "user" | "assistant";
  readonly content: string;
}

type Chunk = ChatCompletionChunk | { readonly error: { readonly message: string } };

/** The turn as it grows, a word at a time, to its end: what goes wrong is told in its note. */
export async function* converse(question: Question): AsyncGenerator<Turn> {
  let turn: Turn = { question: question.text, thinking: "", answer: "", state: "live", note: "" };
  yield turn;
  try {
    for await (const grown of answerTo(question, turn)) {
      turn = grown;
      yield turn;
    }
  } catch (error) {
    yield question.signal.aborted
      ? { ...turn, state: "stopped", note: "stopped" }
      : { ...turn, state: "failed", note: (error as Error).message };
  }
}

/** @throws ServerError, or as fetch when it is aborted */
async function* answerTo(question: Question, begun: Turn): AsyncGenerator<Turn> {
  const { model, apiKey, thinks, before, text, signal } = question;
  const response = await ask("/v1/chat/completions", apiKey, {
    method: "POST",
    headers: { "content-type": "application/json" },
    signal,
    body: JSON.stringify({
      model,
      messages: [...messagesOf(before), { role: "user", content: text }],
      thinking: { type: thinks ? "enabled" : "disabled" },
      stream: true,
      stream_options: { include_usage: true },
    }),
  });
  let turn = begun;
  let ended = false;
  for await (const chunk of events<Chunk>(response)) {
    if ("error" in chunk) throw new Error(chunk.error.message);
    for (const { delta, finish_reason: reason } of chunk.choices) {
      ended ||= reason !== null;
      turn = {
        ...turn,
        thinking: turn.thinking + (delta.reasoning_content ?? delta.reasoning ?? ""),
        answer: turn.answer + (delta.content ?? ""),
        note: reason === "length" ? "the context is full · " : turn.note,
      };
      yield turn;
    }
    if (chunk.usage) turn = { ...turn, note: turn.note + noteOf(chunk.usage) };
  }
  if (!ended) throw new Error("the connection was lost before the answer's end");
  yield { ...turn, state: "done" };
}

/** What turns say to the model: a failed one, or one without an answer, was not said. */
export function messagesOf(turns: readonly Turn[]): Message[] {
  return turns
    .filter(({ state, answer }) => state !== "failed" && answer !== "")
    .flatMap(({ question, answer }): Message[] => [
      { role: "user", content: question },
      { role: "assistant", content: answer },
    ]);
}

function noteOf(usage: NonNullable<ChatCompletionChunk["usage"]>): string {
  const { prompt_tokens, prompt_cache_hit_tokens, completion_tokens } = usage;
  return `${prompt_tokens} tokens in, ${prompt_cache_hit_tokens} cached · ${completion_tokens} out`;
}

/** Turns kept. */
const KEPT = 200;

/** What `writeTurns` wrote; none where it is something else. One that was under way is stopped. */
export function readTurns(text: string | null): readonly Turn[] {
  try {
    const { version, turns } = JSON.parse(text ?? "") as { version?: number; turns: Turn[] };
    if (version !== VERSION) return [];
    return turns.map((turn) =>
      turn.state === "live" ? { ...turn, state: "stopped", note: "stopped" } : turn,
    );
  } catch {
    return [];
  }
}

/** Of turns' shape. */
const VERSION = 1;

export const writeTurns = (turns: readonly Turn[]): string =>
  JSON.stringify({ version: VERSION, turns: turns.slice(-KEPT) });
