/**
 * A model's own chat template. Markers that somebody's words contain are hidden from it and come back as plain text,
 * so they stay words.
 */
import type { HistoryMessage } from "./chat-history.ts";
import { ChatTemplateError, type ChatTool, spacedJson } from "./chat-message.ts";
import { HiddenMarkers } from "./hidden-markers.ts";
import { Template, TemplateRefusal } from "./jinja-template.ts";
import { type Dict, parseJson, toValue, type Value } from "./jinja-values.ts";
import type { Segment, Tokenizer } from "./tokenizer.ts";

export interface Conversation {
  readonly history: readonly HistoryMessage[];
  readonly tools: readonly ChatTool[];
  /** How the tools are told of in the system's message, by who has them in no template. */
  readonly toolSection: readonly Segment[];
  /** The last message is the beginning of the answer. */
  readonly continues: boolean;
  readonly variables: Readonly<Record<string, unknown>>;
}

/** What a template makes of messages, which only trying tells. */
export interface JinjaHabits {
  /** Prints calls' arguments as they are; others walk them or write them as JSON themselves. */
  readonly argumentsAsText: boolean;
  /** A message that only calls has no content: null, or an empty text where null would be printed. */
  readonly noContent: "" | null;
}

/** A template that fails on what it should say: its own fault, not the conversation's. */
export class ChatTemplateFailure extends Error {}

export class JinjaTemplate {
  readonly #template: Template;
  readonly #tokenizer: Tokenizer;
  readonly #path: string;

  /** @throws ChatTemplateError naming `path` where the source is no Jinja. */
  constructor(source: string, path: string, tokenizer: Tokenizer) {
    this.#path = path;
    this.#tokenizer = tokenizer;
    try {
      this.#template = new Template(source);
    } catch (cause) {
      throw new ChatTemplateError(path, `is not a template: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  /** @throws ChatTemplateError where the template refuses the messages, ChatTemplateFailure where it fails. */
  compose(conversation: Conversation, habits: JinjaHabits): Segment[] {
    const { history, tools, toolSection, continues, variables } = conversation;
    // Refuses what is nested too deep.
    spacedJson(tools, "tools");
    const hidden = new HiddenMarkers(this.#tokenizer);
    const end = continues ? hidden.hidden("") : "";
    const messages = history.map((message, index) =>
      toDict(message, { hidden, habits, end: index === history.length - 1 ? end : "" }),
    );
    const rendered = this.render(
      new Map<string, Value>([
        ...Object.entries(variables).map(([name, value]) => [name, toValue(value)] as const),
        ["messages", withSection(messages, toolSection, hidden)],
        ...(tools.length > 0 ? [["tools", hidden.hide(toValue(tools))] as const] : []),
        ["add_generation_prompt", !continues],
      ]),
    );
    return hidden.segments(continues ? this.#upTo(end, rendered, history.length - 1) : rendered);
  }

  render(variables: Dict): string {
    const { bos, eos } = this.#tokenizer;
    const written = (token: number | undefined) =>
      token === undefined ? "" : this.#tokenizer.decode([token]);
    try {
      return this.#template.render(
        new Map([...variables, ["bos_token", written(bos)], ["eos_token", written(eos)]]),
      );
    } catch (cause) {
      const { message } = cause as Error;
      if (cause instanceof TemplateRefusal)
        throw new ChatTemplateError("messages", message, { cause });
      throw new ChatTemplateFailure(`${this.#path}: cannot render this conversation: ${message}`, {
        cause,
      });
    }
  }

  #upTo(end: string, rendered: string, last: number): string {
    const at = rendered.lastIndexOf(end);
    if (at >= 0) return rendered.slice(0, at);
    const problem =
      "the chat template does not say the message's words, so nothing can go on from them";
    throw new ChatTemplateError(`messages[${last}]`, problem);
  }
}

interface DictOptions {
  readonly hidden: HiddenMarkers;
  readonly habits: JinjaHabits;
  /** Follows the words of the message that is to be continued. */
  readonly end: string;
}

function toDict(message: HistoryMessage, { hidden, habits, end }: DictOptions): Dict {
  const { role, calls, thoughts, name, callId } = message;
  const dict: Dict = new Map<string, Value>([["role", role]]);
  // Where there are only thoughts, those are continued.
  const endsInThoughts = end !== "" && thoughts !== undefined && message.content === "";
  const content = hidden.hideIn(message.content, role === "assistant");
  const isSilent = calls.length > 0 && content === "";
  dict.set("content", isSilent ? habits.noContent : content + (endsInThoughts ? "" : end));
  if (calls.length > 0) {
    dict.set(
      "tool_calls",
      calls.map((call) => callDict(call, hidden, habits)),
    );
  }
  if (thoughts) {
    dict.set("reasoning_content", hidden.hideIn(thoughts) + (endsInThoughts ? end : ""));
  }
  if (name !== undefined) dict.set("name", hidden.hideIn(name));
  if (callId !== undefined) dict.set("tool_call_id", hidden.hideIn(callId));
  if (end !== "") dict.set("prefix", true);
  return dict;
}

function callDict(
  { id, name, arguments: text }: HistoryMessage["calls"][number],
  hidden: HiddenMarkers,
  { argumentsAsText }: JinjaHabits,
): Dict {
  const given = hidden.hide(argumentsAsText ? text : parseJson(text));
  return new Map<string, Value>([
    ...(id === undefined ? [] : [["id", hidden.hideIn(id)] as const]),
    ["type", "function"],
    [
      "function",
      new Map<string, Value>([
        ["name", hidden.hideIn(name)],
        ["arguments", given],
      ]),
    ],
  ]);
}

/** The tools' description at the end of the first message, which is made the system's. */
function withSection(
  messages: readonly Dict[],
  section: readonly Segment[],
  hidden: HiddenMarkers,
): Dict[] {
  if (section.length === 0) return [...messages];
  const written = section
    .map(({ text, special }) => (special ? text : hidden.hideIn(text)))
    .join("");
  const [first, ...others] = messages;
  const begins = first?.get("role") === "system";
  const content = (begins ? (first.get("content") as string) : "") + written;
  const system: Dict = new Map<string, Value>([
    ["role", "system"],
    ["content", content],
  ]);
  return [system, ...(begins ? others : messages)];
}
