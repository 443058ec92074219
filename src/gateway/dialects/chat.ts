import { chatChunks, chatCompletion, type ChatAnswerOptions } from "../answer/index.ts";
import { chatFields } from "../fields/index.ts";
import * as wire from "../wire.ts";
import type { Answer, Dialect } from "./dialect.ts";

/** OpenAI's chat completions, as DeepSeek speaks them. */
export const chatDialect: Dialect<wire.ChatRequest> = {
  path: "/chat/completions",
  summary: "Answers a conversation",
  schema: wire.chatRequest,
  fields: chatFields,
  response: wire.chatCompletion,
  chunk: wire.chatCompletionChunk,
  idPrefix: "chatcmpl-",
  framing: "plain",
  toChat: (request) => request,
  fieldOf: (field) => field,
  stream: (answer) => chatChunks(answer.generation, optionsOf(answer)),
  whole: (answer) => chatCompletion(answer.generation, optionsOf(answer)),
  describeError: (error) => error.envelope(),
  errorEvent: (error) => error.envelope(),
};

function optionsOf(answer: Answer<wire.ChatRequest>): ChatAnswerOptions {
  const { request, head, reasoningField, tokenBytes, createId } = answer;
  return {
    ...{ head, reasoningField, tokenBytes },
    choices: request.n ?? 1,
    includeUsage: request.stream_options?.include_usage ?? false,
    logprobs: request.logprobs ?? false,
    createCallId: () => createId("call_"),
  };
}
