export {
  type AnswerHead,
  chatChunks,
  type ChatAnswerOptions,
  chatCompletion,
  type ReasoningField,
  reasoningFields,
} from "./chat-answer.ts";
export type { TokenReader } from "./choice-output.ts";
export { openConstraints } from "./constraint.ts";
export { completion, completionChunks } from "./completion-answer.ts";
export { type ChoiceEvent, Generation, type GenerationOptions } from "./generation.ts";
export { countCalls, countPrompts, offeredTools, promptTexts, PromptWriter } from "./prompt.ts";
export { type SamplingDefaults, samplingOf } from "./sampling.ts";
export { wantsThinking } from "./thinking.ts";
export { refuseUnsupportedChat, refuseUnsupportedCompletion } from "./unsupported.ts";
