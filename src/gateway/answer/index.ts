export { type AnswerHead, chatChunks, chatCompletion } from "./chat-answer.ts";
export type { TokenReader } from "./choice-output.ts";
export { completion, completionChunks } from "./completion-answer.ts";
export { Generation, type GenerationOptions } from "./generation.ts";
export { countPrompts, offeredTools, PromptWriter } from "./prompt.ts";
export { type SamplingDefaults, samplingOf } from "./sampling.ts";
export { wantsThinking } from "./thinking.ts";
export { refuseUnsupportedChat, refuseUnsupportedCompletion } from "./unsupported.ts";
