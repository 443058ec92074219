/** Conversations as OpenAI's API sends them, and as the chat templates need them. */

/** One message of a request. Only what templates use; other fields may be present. */
export interface ChatMessage {
  /** system, developer (the same), user, assistant or tool. */
  readonly role: string;
  readonly content?: string | null | readonly ContentPart[] | undefined;
  readonly name?: string | null | undefined;
  readonly tool_calls?: readonly ToolCall[] | null | undefined;
  readonly tool_call_id?: string | null | undefined;
  readonly reasoning_content?: string | null | undefined;
  readonly reasoning?: string | null | undefined;
}

/** Only parts of type `text` are understood. */
export interface ContentPart {
  readonly type: string;
  readonly text?: string | undefined;
}

export interface ToolCall {
  readonly id?: string | null | undefined;
  readonly type?: string | null | undefined;
  readonly function: {
    readonly name: string;
    /** JSON, as text or parsed. */
    readonly arguments?: unknown;
  };
}

/** A function the model may call. */
export interface ChatTool {
  readonly type?: string | undefined;
  readonly function: {
    readonly name: string;
    readonly description?: string | null | undefined;
    /** JSON Schema. */
    readonly parameters?: unknown;
  };
}

/** A conversation that a template cannot say; `field` is the request's, as in `messages[2].content[0].type`. */
export class ChatTemplateError extends Error {
  readonly field: string;

  constructor(field: string, problem: string, options?: ErrorOptions) {
    super(`${field}: ${problem}`, options);
    this.name = "ChatTemplateError";
    this.field = field;
  }
}

/** A message after the system's, its content one text. */
export interface Turn {
  readonly role: "user" | "assistant" | "tool";
  readonly content: string;
  readonly calls: readonly { readonly name: string; readonly arguments: string }[];
}

export interface Conversation {
  /** All system and developer messages, a blank line between two. */
  readonly system: string;
  readonly turns: readonly Turn[];
}

/** @throws ChatTemplateError naming the message and field that cannot be said. */
export function readConversation(messages: readonly ChatMessage[]): Conversation {
  const system: string[] = [];
  const turns: Turn[] = [];
  messages.forEach((message, index) => {
    const field = `messages[${index}]`;
    const content = contentText(message, field) ?? "";
    const role = templateRole(message, field);
    if (role === "system") system.push(content);
    else
      turns.push({ role, content, calls: role === "assistant" ? readCalls(message, field) : [] });
  });
  return { system: system.join("\n\n"), turns };
}

export function templateRole(message: ChatMessage, field: string): Turn["role"] | "system" {
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

/** Text parts make one text, a line each; null where there is no content. */
export function contentText({ content }: ChatMessage, field: string): string | null {
  if (content === null || content === undefined || typeof content === "string") {
    return content ?? null;
  }
  const texts = content.map((part, index) => {
    if (part.type === "text" && typeof part.text === "string") return part.text;
    throw new ChatTemplateError(
      `${field}.content[${index}].type`,
      `expected a text part, got ${JSON.stringify(part.type)}`,
    );
  });
  return texts.join("\n");
}

function readCalls({ tool_calls }: ChatMessage, field: string): Turn["calls"] {
  return (tool_calls ?? []).map((call, index) => {
    if (typeof call.function?.name !== "string") {
      const got = JSON.stringify(call.type);
      throw new ChatTemplateError(
        `${field}.tool_calls[${index}].type`,
        `expected a function call, got ${got}`,
      );
    }
    const { name, arguments: given } = call.function;
    const text = typeof given === "string" ? given : spacedJson(given ?? {}, field);
    return { name, arguments: text };
  });
}

const NESTING_LIMIT = 100;

/** JSON as Python writes it, a space after each colon and comma: what the models saw schemas in. */
export function spacedJson(value: unknown, field: string, depth = 0): string {
  if (depth > NESTING_LIMIT) {
    throw new ChatTemplateError(field, `nested more than ${NESTING_LIMIT} levels deep`);
  }
  const inner = (child: unknown) => spacedJson(child, field, depth + 1);
  if (Array.isArray(value)) return `[${value.map(inner).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, child]) => child !== undefined);
    return `{${entries.map(([key, child]) => `${JSON.stringify(key)}: ${inner(child)}`).join(", ")}}`;
  }
  return JSON.stringify(value) ?? "null";
}
