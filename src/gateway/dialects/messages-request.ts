import type { ChatRequest } from "../wire.ts";
import { objectsAt } from "../json-objects.ts";
import { remembering, sourceOf } from "../json-source.ts";
import type { CountRequest, MessagesRequest } from "./messages-wire.ts";

type Message = CountRequest["messages"][number];
type ChatMessage = ChatRequest["messages"][number];
type Texts = NonNullable<CountRequest["system"]>;

/** Has calls of earlier answers remember their arguments as they were sent, with every digit. */
export function rememberInputs<Request extends CountRequest>(
  request: Request,
  json: string,
): Request {
  if (!json.includes("tool_use")) return request;
  for (const { indices, text } of objectsAt(json, ["messages", 0, "content", 0, "input"])) {
    const [message, place] = indices;
    const block = request.messages[message]?.content[place];
    if (typeof block === "object" && block.type === "tool_use") remembering(block.input, text);
  }
  return request;
}

/** Chat's names of fields that Messages has others for. */
export const fieldOf = (field: string): string =>
  field
    .replace(/^response_format(\.json_schema\.schema)?/, (_, schema?: string) =>
      schema === undefined ? "output_config.format" : "output_config.format.schema",
    )
    .replace(/^parallel_tool_calls/, "tool_choice.disable_parallel_tool_use")
    .replace(/^stop\b/, "stop_sequences")
    .replace(/^messages\[.*/, "messages");

/** What is to be answered. */
export function chatOf(request: CountRequest): ChatRequest {
  const { model, system, tools, tool_choice, thinking } = request;
  return {
    model,
    messages: [
      ...(system ? [{ role: "system" as const, content: partsOf(system) }] : []),
      ...request.messages.flatMap(messagesOf),
    ],
    // As Anthropic has it, the answer goes on from words of the assistant's.
    continue_final_message: endsInWords(request.messages.at(-1)),
    ...(tools ? { tools: tools.map(toolOf) } : {}),
    ...(tool_choice ? { tool_choice: choiceOf(tool_choice) } : {}),
    ...(tool_choice?.disable_parallel_tool_use ? { parallel_tool_calls: false } : {}),
    ...(thinking
      ? { thinking: { type: thinking.type === "disabled" ? "disabled" : "enabled" } as const }
      : {}),
  };
}

/** And how. */
export function askedChatOf(request: MessagesRequest): ChatRequest {
  const { max_tokens, stop_sequences: stop, stream, temperature, top_p, top_k } = request;
  const schema = request.output_config?.format?.schema;
  const format = schema
    ? { response_format: { type: "json_schema", json_schema: { name: "answer", schema } } }
    : {};
  return { ...chatOf(request), ...format, max_tokens, stop, stream, temperature, top_p, top_k };
}

function messagesOf(message: Message): ChatMessage[] {
  const { role, content } = message;
  if (role === "assistant") return [assistantOf(content)];
  if (role === "system" || typeof content === "string")
    return [{ role, content: partsOf(content as Texts) }];
  const results = content.flatMap((block) =>
    block.type === "tool_result" ? [resultOf(block)] : [],
  );
  const words = content.flatMap((block) => (block.type === "text" ? [textPart(block.text)] : []));
  return words.length > 0 || results.length === 0
    ? [...results, { role, content: words }]
    : results;
}

function assistantOf(
  content: Extract<Message, { role: "assistant" }>["content"],
): Extract<ChatMessage, { role: "assistant" }> {
  if (typeof content === "string") return { role: "assistant", content };
  const words = content.flatMap((block) => (block.type === "text" ? [block.text] : []));
  const thoughts = content.flatMap((block) => (block.type === "thinking" ? [block.thinking] : []));
  const calls = content.flatMap((block) =>
    block.type === "tool_use"
      ? [{ id: block.id, function: { name: block.name, arguments: sourceOf(block.input) } }]
      : [],
  );
  return {
    role: "assistant",
    content: words.length > 0 ? words.join("") : null,
    ...(thoughts.length > 0 ? { reasoning_content: thoughts.join("") } : {}),
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
  };
}

type ToolResult = Extract<
  Exclude<Extract<Message, { role: "user" }>["content"], string>[number],
  { type: "tool_result" }
>;

/** Templates know no failed results: one says so itself. */
function resultOf({ tool_use_id, content, is_error }: ToolResult): ChatMessage {
  const parts = content ? partsOf(content) : [];
  const said = typeof parts === "string" ? [textPart(parts)] : parts;
  const failed = is_error && !/^\s*\S*error/i.test(said[0]?.text ?? "");
  return {
    role: "tool",
    tool_call_id: tool_use_id,
    content: failed ? [textPart(`Error: ${said[0]?.text ?? ""}`), ...said.slice(1)] : said,
  };
}

const textPart = (text: string) => ({ type: "text" as const, text });

const partsOf = (texts: Texts) =>
  typeof texts === "string" ? texts : texts.map(({ text }) => textPart(text));

const toolOf = ({
  name,
  description,
  input_schema,
  strict,
}: NonNullable<CountRequest["tools"]>[number]) => ({
  type: "function" as const,
  function: { name, description, parameters: input_schema, strict },
});

function choiceOf({
  type,
  name,
}: NonNullable<CountRequest["tool_choice"]>): ChatRequest["tool_choice"] {
  if (type === "any") return "required";
  return type === "tool" ? { type: "function", function: { name } } : type;
}

function endsInWords(last: Message | undefined): boolean {
  if (last?.role !== "assistant") return false;
  return typeof last.content === "string" || last.content.every(({ type }) => type !== "tool_use");
}
