import type { Command } from "cac";
import { text as textOfStream } from "node:stream/consumers";
import { modelNames } from "../../gateway/index.ts";
import { integerOf, numberOf, textOf, UsageError } from "../arguments.ts";
import { serverOf } from "../server.ts";
import { AnswerPrinter, dimmed } from "./answer-printer.ts";
import { Conversation, describeSpent } from "./conversation.ts";
import { HistoryFile, historyPath } from "./history-file.ts";
import { converse } from "./repl.ts";

export function withChat(command: Command): Command {
  return command
    .option("--url <url>", "Server", { default: "http://127.0.0.1:8000" })
    .option("--api-key <key>", "Key of the server; or in DAYSIX_API_KEY")
    .option("--api-key-file <file>", "File that has the key")
    .option("--model <name>", "Served name; the first one where none is given")
    .option("--system <text>", "System message")
    .option("--temperature <t>", "0 is greedy; where none is given, what the server recommends")
    .option("--seed <seed>", "Seed of the sampling")
    .option("--no-thinking", "Answer without thinking first");
}

type Flags = Readonly<Record<string, unknown>>;

/**
 * `daysix chat`: a conversation on a terminal. With a question, or with text that is piped in, one
 * answer: its content on stdout.
 */
export async function runChat(question: string | undefined, flags: Flags): Promise<void> {
  const conversation = await conversationOf(flags);
  const { stdin, stdout } = process;
  const piped = stdin.isTTY ? "" : (await textOfStream(stdin)).trim();
  const asked = [question ?? "", piped].filter(Boolean).join("\n\n");
  if (asked) return answerOnce(conversation, asked);
  if (!stdin.isTTY || !stdout.isTTY) throw new UsageError("chat: there is no question");
  const history = new HistoryFile(historyPath(process.env));
  return converse(conversation, { input: stdin, output: stdout }, history);
}

async function conversationOf(flags: Flags): Promise<Conversation> {
  const server = await serverOf(flags);
  const { model, system, temperature, seed } = flags;
  const settings = {
    thinking: flags["thinking"] !== false,
    system: system === undefined ? undefined : textOf("system", system),
    temperature: temperature === undefined ? undefined : numberOf("temperature", temperature, 0, 2),
    seed: seed === undefined ? undefined : integerOf("seed", seed, 0, Number.MAX_SAFE_INTEGER),
  };
  const [first] = model === undefined ? await modelNames(server) : [textOf("model", model)];
  return new Conversation(server, { ...settings, model: first }, () => performance.now());
}

async function answerOnce(conversation: Conversation, question: string): Promise<void> {
  const { stdout, stderr } = process;
  const printer = new AnswerPrinter((text) => stdout.write(text), stdout.isTTY);
  const spent = await printer.print(conversation.ask(question));
  if (stdout.isTTY && spent) stderr.write(`${dimmed(describeSpent(spent))}\n`);
}
