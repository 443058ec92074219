/** Conversations as every template gets them, whatever clients make of them. */
import { type ChatMessage, ChatTemplateError, spacedJson, type ToolCall } from "./chat-message.ts";

export interface HistoryCall {
  readonly id: string | undefined;
  readonly name: string;
  /** An object's JSON as it was written; `{}` where it was none. */
  readonly arguments: string;
}

export interface HistoryMessage {
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly content: string;
  readonly calls: readonly HistoryCall[];
  readonly thoughts: string | undefined;
  readonly name: string | undefined;
  /** The call that a tool's result answers. */
  readonly callId: string | undefined;
}

export interface HistoryStyle {
  /** Between two parts of one text. */
  readonly partSeparator: string;
  /** What a model calls a call, where it numbers them. */
  readonly callId: ((name: string, number: number) => string) | undefined;
}

/** @throws ChatTemplateError naming the message and field that cannot be said. */
export function normaliseHistory(
  messages: readonly ChatMessage[],
  style: HistoryStyle,
): HistoryMessage[] {
  const history: HistoryMessage[] = [];
  /** Of the last message that called, as the client has them and as the model does. */
  let clientIds: readonly (string | null | undefined)[] = [];
  let calls: readonly HistoryCall[] = [];
  let callCount = 0;
  let results: { readonly place: number; readonly message: HistoryMessage }[] = [];
  const inOrder = () => {
    results.sort((a, b) => a.place - b.place);
    history.push(...results.map(({ message }) => message));
    results = [];
  };
  messages.forEach((message, index) => {
    const field = `messages[${index}]`;
    const role = roleOf(message, field);
    const read = { ...readMessage(message, field, style), role };
    if (role === "tool") {
      const known = clientIds.indexOf(message.tool_call_id);
      const place = known < 0 ? results.length : known;
      const callId = known < 0 ? (read.callId ?? calls[place]?.id) : calls[known].id;
      results.push({ place, message: { ...read, callId } });
      return;
    }
    inOrder();
    if (role === "assistant" && message.tool_calls?.length) {
      clientIds = message.tool_calls.map(({ id }) => id);
      calls = readCalls(message.tool_calls, field, (name, at) =>
        style.callId?.(name, callCount + at),
      );
      callCount += calls.length;
      history.push({ ...read, calls });
    } else history.push(read);
  });
  inOrder();
  return history;
}

function roleOf(message: ChatMessage, field: string): HistoryMessage["role"] {
  switch (message.role) {
    case "system":
    case "developer":
      return "system";
    case "user":
    case "assistant":
    case "tool":
      return message.role;
    default:
      throw new ChatTemplateError(
        `${field}.role`,
        `expected system, developer, user, assistant or tool, got ${JSON.stringify(message.role)}`,
      );
  }
}

function readMessage(message: ChatMessage, field: string, { partSeparator }: HistoryStyle) {
  return {
    content: contentText(message, field, partSeparator),
    calls: [],
    thoughts: message.reasoning_content || message.reasoning || undefined,
    name: message.name ?? undefined,
    callId: message.tool_call_id ?? undefined,
  };
}

function contentText({ content }: ChatMessage, field: string, separator: string): string {
  if (content === null || content === undefined) return "";
  if (typeof content === "string") return content;
  const texts = content.map((part, index) => {
    if (part.type === "text" && typeof part.text === "string") return part.text;
    throw new ChatTemplateError(
      `${field}.content[${index}].type`,
      `expected a text part, got ${JSON.stringify(part.type)}`,
    );
  });
  return texts.join(separator);
}

function readCalls(
  calls: readonly ToolCall[],
  field: string,
  numbered: (name: string, at: number) => string | undefined,
): HistoryCall[] {
  return calls.map((call, index) => {
    const at = `${field}.tool_calls[${index}]`;
    const name = call.function?.name;
    if (typeof name !== "string") {
      throw new ChatTemplateError(
        `${at}.type`,
        `expected a function call, got ${JSON.stringify(call.type)}`,
      );
    }
    const text = argumentsText(call.function.arguments, `${at}.function.arguments`);
    return { id: numbered(name, index) ?? call.id ?? undefined, name, arguments: text };
  });
}

function argumentsText(given: unknown, field: string): string {
  const value = typeof given === "string" ? jsonOf(given) : given;
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "{}";
  const text = spacedJson(value, field);
  return typeof given === "string" ? given : text;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
