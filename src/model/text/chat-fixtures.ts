import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ChatMessage } from "./chat-message.ts";
import { loadChatTemplate, type ChatTemplate, type RenderOptions } from "./chat-template.ts";
import { repositoryRoot } from "../fixtures.ts";
import { writeTinyTokenizer } from "./tokenizer-fixtures.ts";
import { Tokenizer } from "./tokenizer.ts";

export const directory = mkdtempSync(join(tmpdir(), "daysix-chat-"));
process.once("exit", () => rmSync(directory, { recursive: true }));

const tokenizer = writeTinyTokenizer(directory).then(() => Tokenizer.load(directory));
/** The same for all, but a promise of the caller's own, which keeps a file's tests its own (join-tests.js). */
export const tinyTokenizer = async (): Promise<Tokenizer> => tokenizer;

export const shared = join(repositoryRoot, "../shared/data");

/** Published templates, where they are at hand. */
export const jinjaOf = (name: string): string =>
  readFileSync(join(shared, "chat-templates/llamacpp", `${name}.jinja`), "utf8");
export const noTemplates = existsSync(join(shared, "chat-templates"))
  ? false
  : "no ../shared/data/chat-templates here";

/** A checkpoint folder's template. */
export const load = async (source: string): Promise<ChatTemplate> =>
  loadWith(await tinyTokenizer(), source);

export async function loadWith(reader: Tokenizer, source: string): Promise<ChatTemplate> {
  const folder = await mkdtemp(join(directory, "model-"));
  await writeFile(join(folder, "chat_template.jinja"), source);
  return loadChatTemplate(folder, reader);
}

/** A prompt as text; its words may look like markers. */
export function textOf(
  template: ChatTemplate,
  messages: readonly ChatMessage[],
  options: RenderOptions = {},
): string {
  const segments = template.segments(messages, options);
  return segments.map(({ text }) => text).join("");
}

export const BEGIN = "<｜begin▁of▁sentence｜>";
export const END = "<｜end▁of▁sentence｜>";
