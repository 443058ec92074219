export {
  type AnswerHead,
  chatChunks,
  type ChatAnswerOptions,
  chatCompletion,
  type ReasoningField,
  reasoningFields,
} from "./chat-answer.ts";
export { openChatConstraints, openCompletionConstraints } from "./constraint.ts";
export { completion, completionChunks } from "./completion-answer.ts";
export { type ChoiceEvent, Generation, type GenerationOptions } from "./generation.ts";
export { plainText } from "./plain-text.ts";
export { countCalls, countPrompts, promptTexts, PromptWriter } from "./prompt.ts";
export { type SamplingDefaults, samplingOf } from "./sampling.ts";
export { wantsThinking } from "./thinking.ts";
export { offeredTools } from "./tool-choice.ts";
export { refuseUnsupportedChat, refuseUnsupportedCompletion } from "./unsupported.ts";
