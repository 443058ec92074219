import { AnswerPrinter, dimmed } from "./answer-printer.ts";
import { commandOf, runCommand } from "./commands.ts";
import { type Conversation, describeSpent } from "./conversation.ts";
import { HISTORY_LINES, type HistoryFile } from "./history-file.ts";
import { Prompt, type Terminal } from "./prompt.ts";

/** Talks until the person ends it; nothing that fails does. */
export async function converse(
  conversation: Conversation,
  terminal: Terminal,
  history: HistoryFile,
): Promise<void> {
  const say = (text: string) => terminal.output.write(`${text}\n`);
  say(`${conversation.settings.model} at ${conversation.url} (/help lists commands, /bye ends)`);
  const prompt = new Prompt(terminal, {
    history: history.read(),
    historySize: HISTORY_LINES,
    onHistory: keepIn(history, say),
  });
  try {
    for (let text = await prompt.next(); text !== undefined; text = await prompt.next()) {
      if (text.trim() === "") continue;
      const command = commandOf(text);
      if (!command) {
        await answer(conversation, text.replace(/^\/\//, "/"), prompt, terminal);
        continue;
      }
      const said = await runCommand(conversation, command).catch(describeFailure);
      if (said === undefined) break;
      say(dimmed(said));
    }
  } finally {
    prompt.close();
  }
}

/** A history that cannot be written is told of once. */
function keepIn(history: HistoryFile, say: (text: string) => void) {
  let told = false;
  return (lines: readonly string[]) => {
    try {
      history.write(lines);
    } catch (error) {
      if (!told) say(dimmed(`what you enter is not kept: ${(error as Error).message}`));
      told = true;
    }
  };
}

async function answer(
  conversation: Conversation,
  text: string,
  prompt: Prompt,
  { output }: Terminal,
): Promise<void> {
  const printer = new AnswerPrinter((piece) => output.write(piece), true);
  const note = await prompt.during(async (signal) => {
    try {
      const spent = await printer.print(conversation.ask(text, signal));
      return spent ? describeSpent(spent) : "";
    } catch (error) {
      return signal.aborted ? "stopped" : describeFailure(error);
    }
  });
  if (note) output.write(`${dimmed(note)}\n`);
}

const describeFailure = (error: unknown) => `failed: ${(error as Error).message}`;
