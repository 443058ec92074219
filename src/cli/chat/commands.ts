import { writeFile } from "node:fs/promises";
import type { Conversation } from "./conversation.ts";

interface ChatCommand {
  /** What follows the name. */
  readonly argument: string;
  readonly help: string;
  /** Says what was done; undefined ends the conversation. */
  readonly run: (conversation: Conversation, argument: string) => Promise<string | undefined>;
}

/** The model's name where none is said, and what else there is. */
async function chooseModel(conversation: Conversation, name: string): Promise<string> {
  const names = await conversation.modelNames();
  const { settings } = conversation;
  if (name !== "" && !names.includes(name)) {
    return `${conversation.url} serves no ${name}; it serves ${names.join(", ")}`;
  }
  if (name !== "") settings.model = name;
  return `${settings.model}, of ${names.join(", ")}`;
}

async function think({ settings }: Conversation, argument: string): Promise<string> {
  if (argument !== "" && argument !== "on" && argument !== "off") return "/think on or /think off";
  settings.thinking = argument === "" ? !settings.thinking : argument === "on";
  return settings.thinking ? "thinks before it answers" : "answers without thinking first";
}

async function setSystem({ settings }: Conversation, argument: string): Promise<string> {
  if (argument === "none") settings.system = undefined;
  else if (argument !== "") settings.system = argument;
  return settings.system === undefined
    ? "there is no system message"
    : `system message: ${settings.system}`;
}

async function save({ messages, settings }: Conversation, file: string): Promise<string> {
  if (file === "") return "/save FILE";
  const text = JSON.stringify({ model: settings.model, messages }, null, 2);
  await writeFile(file, `${text}\n`, { flag: "wx", mode: 0o600 });
  return `${messages.length} messages in ${file}`;
}

async function clear(conversation: Conversation): Promise<string> {
  conversation.clear();
  return "what was said is forgotten";
}

const commands: Readonly<Record<string, ChatCommand>> = {
  help: { argument: "", help: "this list", run: async () => helpText() },
  clear: { argument: "", help: "forget what was said", run: clear },
  system: {
    ...{ argument: "[TEXT|none]", help: "set or show the system message" },
    run: setSystem,
  },
  think: { argument: "[on|off]", help: "think before answering, or not", run: think },
  model: { argument: "[NAME]", help: "show or choose the model", run: chooseModel },
  save: { argument: "FILE", help: "write the conversation to a new file, as JSON", run: save },
  bye: { argument: "", help: "end", run: async () => undefined },
};

function helpText(): string {
  const rows = Object.entries(commands).map(([name, { argument, help }]) => {
    return `${`/${name} ${argument}`.padEnd(20)}${help}`;
  });
  return [
    ...rows,
    "A line that ends in \\ goes on in the next; pasted lines stay together.",
    "Ctrl+C stops an answer; at an empty prompt a second one ends, as Ctrl+D does.",
    "//word says /word to the model.",
  ].join("\n");
}

/** A command's name and argument; undefined for what is said to the model, paths and comments too. */
export function commandOf(text: string): { name: string; argument: string } | undefined {
  const [, name, argument = ""] = /^\/([a-z-]+)(?:\s+(.*))?$/s.exec(text.trim()) ?? [];
  return name === undefined ? undefined : { name, argument };
}

/** @throws what a command fails with */
export async function runCommand(
  conversation: Conversation,
  { name, argument }: { readonly name: string; readonly argument: string },
): Promise<string | undefined> {
  if (!Object.hasOwn(commands, name)) return `there is no /${name}; /help lists what there is`;
  return commands[name].run(conversation, argument);
}
