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
  /** Of the last message: the answer goes on from its words. */
  readonly prefix?: boolean | null | undefined;
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
