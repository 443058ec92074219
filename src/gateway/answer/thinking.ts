import type { ChatRequest } from "../wire.ts";

/**
 * Whether the answer should think first: DeepSeek's `thinking`, then the template's own switches,
 * then OpenAI's `reasoning_effort`, then the name asked for. Undefined: as the template has it.
 */
export function wantsThinking(request: ChatRequest): boolean | undefined {
  const { thinking, chat_template_kwargs: kwargs, reasoning_effort: effort, model } = request;
  if (thinking && thinking.type !== "auto") return thinking.type === "enabled";
  const kwarg = kwargs?.thinking ?? kwargs?.enable_thinking;
  if (kwarg !== undefined && kwarg !== null) return kwarg;
  if (effort) return effort !== "none";
  return model.endsWith("reasoner") ? true : undefined;
}
