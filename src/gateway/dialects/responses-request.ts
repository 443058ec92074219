import { z } from "@hono/zod-openapi";
import type { ChatRequest } from "../wire.ts";
import type { CountInputRequest, OutputItem, ResponsesRequest } from "./responses-wire.ts";

type ChatMessage = ChatRequest["messages"][number];
type InputItem = Exclude<CountInputRequest["input"], string>[number];

/** Chat's names of fields that Responses have others for. */
export const fieldOf = (field: string): string =>
  field
    .replace(/^response_format(\.json_schema)?/, "text.format")
    .replace(/^max_tokens/, "max_output_tokens")
    .replace(/^reasoning_effort/, "reasoning.effort")
    .replace(/^messages\[.*/, "input");

/** What is to be answered, after what was said before. */
export function chatOf(request: CountInputRequest, earlier: readonly ChatMessage[]): ChatRequest {
  const { model, instructions, input, tools, tool_choice, parallel_tool_calls } = request;
  const said = messagesOf(typeof input === "string" ? [{ role: "user", content: input }] : input);
  return {
    model,
    messages: [
      // Instructions are for one answer, those of earlier ones forgotten.
      ...(instructions ? [{ role: "system" as const, content: instructions }] : []),
      ...earlier,
      ...said,
    ],
    ...(tools ? { tools: tools.map(toolOf) } : {}),
    ...(tool_choice ? { tool_choice: choiceOf(tool_choice) } : {}),
    parallel_tool_calls,
    reasoning_effort: request.reasoning?.effort,
  };
}

/** A chat has what a choice names in objects of their own. */
function choiceOf(
  choice: NonNullable<CountInputRequest["tool_choice"]>,
): ChatRequest["tool_choice"] {
  if (typeof choice === "string") return choice;
  const { type, ...rest } = choice;
  if (type === "function") return { type, function: rest };
  if (type !== "allowed_tools") return choice;
  const { mode, tools } = rest;
  const named = z
    .array(z.object({ type: z.literal("function"), name: z.string() }))
    .safeParse(tools);
  return { type, allowed_tools: { mode, tools: named.success ? named.data.map(toolOf) : tools } };
}

/** And how. */
export function askedChatOf(
  request: ResponsesRequest,
  earlier: readonly ChatMessage[],
): ChatRequest {
  const { max_output_tokens: max_tokens, temperature, top_p, stream, text } = request;
  const format = text?.format ? { response_format: formatOf(text.format) } : {};
  return { ...chatOf(request, earlier), ...format, max_tokens, temperature, top_p, stream };
}

/** A chat has what a schema is called and says in an object of its own. */
function formatOf({ type, ...rest }: Format): ChatRequest["response_format"] {
  return type === "json_schema" ? { type, json_schema: rest } : { type, ...rest };
}

type Format = NonNullable<NonNullable<ResponsesRequest["text"]>["format"]>;

/** Thoughts, words and calls of one answer are items of their own, and one message in a chat. */
export function messagesOf(items: readonly (InputItem | OutputItem)[]): ChatMessage[] {
  const messages: ChatMessage[] = [];
  let thoughts = "";
  const assistant = (content: string | null) => {
    const message = {
      role: "assistant" as const,
      content,
      ...(thoughts === "" ? {} : { reasoning_content: thoughts }),
      tool_calls: [],
    };
    thoughts = "";
    messages.push(message);
    return message;
  };
  for (const item of items) {
    if (item.type === "reasoning") thoughts += thoughtOf(item);
    else if (item.type === "function_call_output") {
      const { call_id, output } = item;
      messages.push({ role: "tool", tool_call_id: call_id, content: contentOf(output) });
    } else if (item.type === "function_call") {
      const last = messages.at(-1);
      const caller = last?.role === "assistant" && thoughts === "" ? last : assistant(null);
      const { call_id: id, name, arguments: given } = item;
      (caller.tool_calls ??= []).push({ id, function: { name, arguments: given } });
    } else if (item.role === "assistant") {
      assistant(textOf(item.content));
    } else messages.push({ role: item.role, content: contentOf(item.content) });
  }
  if (thoughts !== "") assistant(null);
  return messages;
}

/** A model that tells its thoughts as they are has no summary of them. */
const thoughtOf = ({ content, summary }: Extract<InputItem, { type: "reasoning" }>): string =>
  [...(content?.length ? content : (summary ?? []))].map(({ text }) => text).join("");

type Content = Extract<InputItem, { role: string }>["content"];

const contentOf = (content: Content) =>
  typeof content === "string"
    ? content
    : content.map((part) => ({ type: "text" as const, text: wordsOf(part) }));

const textOf = (content: Content): string =>
  typeof content === "string" ? content : content.map(wordsOf).join("");

const wordsOf = (part: Exclude<Content, string>[number]): string =>
  part.type === "refusal" ? part.refusal : part.text;

const toolOf = ({ type, ...rest }: NonNullable<CountInputRequest["tools"]>[number]) => ({
  type,
  function: rest,
});
