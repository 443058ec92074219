/** The text worker's process: a folder's chat template and tokenizer, one task after the other. */
import {
  type ChatTemplate,
  ChatTemplateError,
  createChatTemplate,
  findTemplate,
  Tokenizer,
  tokenizerPath,
} from "../../model/index.ts";
import { liveAsLongAs } from "./life.ts";
import type { TextReport, TextTask } from "./messages.ts";

const report = (message: TextReport) => process.send?.(message);

/** Long enough for a pattern that tries every way to cut a run of one letter. */
const TRIAL_RUN = 4096;

/** Encodes what makes patterns backtrack; one that never ends is told by the gateway. */
function tryTokenizer(tokenizer: Tokenizer): void {
  for (const piece of ["a", "A", "1", " ", "\n", ".", "é", "中", "ab1 .", "a\n"]) {
    tokenizer.encode(piece.repeat(TRIAL_RUN), { specials: true });
  }
}

/** A template may refuse these conversations or fail on them, but must come to an end. */
function tryTemplate(template: ChatTemplate): void {
  const user = { role: "user", content: "a" } as const;
  const reply = { role: "assistant", content: "b" } as const;
  for (const conversation of [[user], [user, reply, user]]) {
    try {
      template.render(conversation);
    } catch {
      continue;
    }
  }
}

function perform(task: TextTask, tokenizer: Tokenizer, template: ChatTemplate): Uint32Array[] {
  if (task.kind === "chat") {
    return [Uint32Array.from(template.render(task.messages, task.options, task.limit))];
  }
  const { texts, begins, limit } = task;
  return texts.map((text) =>
    Uint32Array.from(
      begins
        ? tokenizer.encodePrompt(text, limit)
        : tokenizer.encode(text, { specials: true, limit }),
    ),
  );
}

function answer(task: TextTask, tokenizer: Tokenizer, template: ChatTemplate): void {
  try {
    const prompts = perform(task, tokenizer, template);
    report({ kind: "prompts", prompts });
  } catch (error) {
    const { message } = error as Error;
    if (error instanceof ChatTemplateError) {
      report({ kind: "unsayable", field: error.field, message });
    } else report({ kind: "failed", message });
  }
}

try {
  const [, , gateway, directory, chatTemplate] = process.argv;
  liveAsLongAs(Number(gateway));
  const tokenizerFile = await tokenizerPath(directory);
  report({ kind: "trying", what: `${tokenizerFile}: reading it` });
  const tokenizer = await Tokenizer.load(directory);
  report({ kind: "trying", what: `${tokenizerFile}: encoding ${TRIAL_RUN} letters` });
  tryTokenizer(tokenizer);
  report({ kind: "trying", what: `${directory}: reading the chat template` });
  const found = await findTemplate(directory, chatTemplate);
  report({ kind: "trying", what: `${found.path}: rendering a conversation of one letter` });
  const template = createChatTemplate(found, tokenizer);
  tryTemplate(template);
  process.on("message", (task: TextTask) => answer(task, tokenizer, template));
  const { toolCallFormat } = template;
  report({ kind: "ready", format: { vocabulary: tokenizer.tables, toolCallFormat } });
} catch (error) {
  report({ kind: "refused", message: (error as Error).message });
}
