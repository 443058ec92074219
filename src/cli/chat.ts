import { createInterface } from "node:readline/promises";
import { askServer, firstModel, serverEvents, type Server } from "../gateway/index.ts";
import { UsageError } from "./arguments.ts";

const DIM = "\u001B[2m";
const PLAIN = "\u001B[22m";

export interface ChatOptions extends Server {
  readonly model?: string;
  readonly thinking: boolean;
}

interface Message {
  readonly role: "user" | "assistant";
  readonly content: string;
}

interface Chunk {
  readonly choices?: readonly {
    readonly delta?: {
      readonly content?: string | null;
      readonly reasoning_content?: string | null;
      readonly reasoning?: string | null;
    };
  }[];
}

/** `daysix chat`: a conversation with a running server; thoughts are dimmed on a terminal. */
export async function chat(options: ChatOptions): Promise<void> {
  try {
    await converse(options);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

async function converse(options: ChatOptions): Promise<void> {
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
  const response = await askServer(options, "/v1/chat/completions", {
    model,
    messages,
    stream: true,
    chat_template_kwargs: { thinking: options.thinking },
  });
  let content = "";
  let thinking = false;
  for await (const { choices } of serverEvents<Chunk>(response)) {
    const delta = choices?.[0]?.delta;
    const thought = delta?.reasoning_content ?? delta?.reasoning ?? "";
    const said = delta?.content ?? "";
    if (thought && !thinking && dim) process.stdout.write(DIM);
    if (said && thinking) process.stdout.write(dim ? `${PLAIN}\n` : "\n");
    thinking = thought ? true : said ? false : thinking;
    process.stdout.write(thought + said);
    content += said;
  }
  process.stdout.write(dim ? `${PLAIN}\n` : "\n");
  return content;
}
