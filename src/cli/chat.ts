import { createInterface } from "node:readline/promises";
import { UsageError } from "./arguments.ts";

const DIM = "\u001B[2m";
const PLAIN = "\u001B[22m";

export interface ChatOptions {
  readonly url: string;
  readonly apiKey?: string;
  readonly model?: string;
  readonly thinking: boolean;
}

interface Message {
  readonly role: "user" | "assistant";
  readonly content: string;
}

interface Delta {
  readonly content?: string | null;
  readonly reasoning_content?: string | null;
}

/** `daysix chat`: a conversation with a running server; thoughts are dimmed on a terminal. */
export async function chat(options: ChatOptions): Promise<void> {
  const model = options.model ?? (await firstModel(options));
  const terminal = process.stdin.isTTY && process.stdout.isTTY;
  const lines = createInterface({ input: process.stdin, output: process.stdout, terminal });
  if (terminal) console.log(`${model} at ${options.url} (an empty line or Ctrl+D ends)`);
  const messages: Message[] = [];
  lines.setPrompt(terminal ? "> " : "");
  lines.prompt();
  for await (const line of lines) {
    if (line.trim() === "") break;
    messages.push({ role: "user", content: line });
    const content = await answer(options, model, messages, process.stdout.isTTY);
    messages.push({ role: "assistant", content });
    lines.prompt();
  }
  lines.close();
}

/** Streams one answer to the terminal and returns its content. */
async function answer(
  options: ChatOptions,
  model: string,
  messages: readonly Message[],
  dim: boolean,
): Promise<string> {
  const response = await request(options, "/v1/chat/completions", {
    model,
    messages,
    stream: true,
    chat_template_kwargs: { thinking: options.thinking },
  });
  let content = "";
  let thinking = false;
  for await (const delta of deltas(response)) {
    const thought = delta.reasoning_content ?? "";
    const said = delta.content ?? "";
    if (thought && !thinking && dim) process.stdout.write(DIM);
    if (said && thinking) process.stdout.write(dim ? `${PLAIN}\n` : "\n");
    thinking = thought ? true : said ? false : thinking;
    process.stdout.write(thought + said);
    content += said;
  }
  process.stdout.write(dim ? `${PLAIN}\n` : "\n");
  return content;
}

async function firstModel(options: ChatOptions): Promise<string> {
  const response = await request(options, "/v1/models");
  const { data } = (await response.json()) as { data: { id: string }[] };
  return data[0].id;
}

async function request(options: ChatOptions, path: string, body?: unknown): Promise<Response> {
  const response = await fetch(`${options.url}${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: {
      "content-type": "application/json",
      ...(options.apiKey === undefined ? {} : { authorization: `Bearer ${options.apiKey}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  }).catch(({ message, cause }: Error) => {
    const reason = cause instanceof Error ? cause.message : message;
    throw new UsageError(`no server answers at ${options.url} (${reason})`);
  });
  if (response.ok) return response;
  const { error } = (await response.json()) as { error?: { message?: string } };
  throw new UsageError(error?.message ?? `${options.url} answered ${response.status}`);
}

/** Deltas of a stream of server-sent events. */
async function* deltas(response: Response): AsyncGenerator<Delta> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const bytes of response.body ?? []) {
    const events = (text + decoder.decode(bytes as Uint8Array, { stream: true })).split("\n\n");
    text = events.pop() ?? "";
    for (const event of events) {
      if (!event.startsWith("data: ") || event === "data: [DONE]") continue;
      const chunk = JSON.parse(event.slice("data: ".length)) as {
        choices?: { delta?: Delta }[];
        error?: { message: string };
      };
      if (chunk.error) throw new UsageError(chunk.error.message);
      const delta = chunk.choices?.[0]?.delta;
      if (delta) yield delta;
    }
  }
}
