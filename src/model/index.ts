export { forwardCosts, type ForwardCosts } from "./costs.ts";
export type { ModelConfig } from "./config.ts";
export { readConfig } from "./config.ts";
export { openCheckpoint } from "./checkpoint.ts";
export { CheckpointError } from "./safetensors.ts";
export { bytesOf, expectRoom, writeSafetensors, type WriteBytes } from "./safetensors-writer.ts";
export { quantizeCheckpoint, type Quantization } from "./quantize-checkpoint.ts";
export { numericIdentity, type NumericIdentity } from "./identity.ts";
export { inspectModel, type Inspection } from "./inspect.ts";
export { modelHash } from "./model-hash.ts";
export type { KvPool, StepBatch } from "./step.ts";
export { loadModel, Model, type ChosenTokens, type ModelOptions } from "./model.ts";
export { argmax, SingleSequence } from "./single-sequence.ts";
export {
  GroupedMlp,
  LocalExperts,
  type ExpertCall,
  type ExpertOutput,
  type RoutedExperts,
} from "./routed-experts.ts";
export type { ExpertWeights, LayerWeights, ModelWeights } from "./weights.ts";
export { Tokenizer } from "./tokenizer.ts";
export { hasTokenizer, TokenizerError } from "./tokenizer-file.ts";
export { Detokenizer } from "./detokenizer.ts";
export { ChatTemplate, loadChatTemplate, type RenderOptions } from "./chat-template.ts";
export {
  ChatTemplateError,
  type ChatMessage,
  type ChatTool,
  type ContentPart,
  type ToolCall,
} from "./chat-message.ts";
export { OutputParser, type OutputDelta } from "./output-parser.ts";
export { modelWeights, type WeightSource } from "./weights.ts";
