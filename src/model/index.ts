export { untilFirstFault } from "./first-fault.ts";
export { parseModelJson, readIfThere } from "./model-file.ts";
export { processExists } from "./process-exists.ts";
export { forwardCosts, type ForwardCosts } from "./graph/index.ts";
export type { ModelConfig } from "./checkpoint/index.ts";
export { contextLimit, defaultPolicy, readConfig } from "./checkpoint/index.ts";
export { openCheckpoint } from "./checkpoint/index.ts";
export { CheckpointError } from "./checkpoint/index.ts";
export {
  bytesOf,
  expectRoom,
  roomOf,
  writeSafetensors,
  type WriteBytes,
} from "./checkpoint/index.ts";
export { quantizeCheckpoint, type QuantizedGroup } from "./checkpoint/index.ts";
export {
  modelIdentity,
  type ModelIdentity,
  numericIdentity,
  type NumericIdentity,
} from "./checkpoint/index.ts";
export { inspectModel, type Inspection } from "./checkpoint/index.ts";
export { type HashedBytes, modelHash } from "./checkpoint/index.ts";
export type { KvPool, Mtp, MtpBatch, Order, Stages, StepBatch } from "./graph/index.ts";
export { passLayers } from "./graph/index.ts";
export { loadModel, Model, type ChosenTokens, type ModelOptions } from "./graph/index.ts";
export { argmax, SingleSequence } from "./graph/index.ts";
export {
  GroupedMlp,
  LocalExperts,
  type ExpertBatch,
  type ExpertFlight,
  type ExpertOutput,
  type RoutedExperts,
} from "./graph/index.ts";
export { openWeights, packedFile, type PackedFile, type PackedModel } from "./packed/index.ts";
export { streamTracer } from "./graph/index.ts";
export type { LayerWeights, ModelWeights } from "./checkpoint/index.ts";
export { Tokenizer, Vocabulary, type VocabularyTables } from "./text/index.ts";
export { hasTokenizer, TokenizerError, tokenizerPath } from "./text/index.ts";
export { Detokenizer } from "./text/index.ts";
export {
  ChatTemplate,
  createChatTemplate,
  findTemplate,
  loadChatTemplate,
  type RenderOptions,
} from "./text/index.ts";
export {
  ChatTemplateError,
  type ChatMessage,
  type ChatTool,
  type ContentPart,
  type ToolCall,
} from "./text/index.ts";
export {
  firstMatch,
  OutputParser,
  thinkingAfter,
  unfinishedLength,
  type OutputDelta,
  type ToolCallFormat,
} from "./text/index.ts";
export { modelWeights, type WeightSource } from "./checkpoint/index.ts";
export { shapeBytes, storedTensors, type StoredTensor } from "./checkpoint/index.ts";
export {
  type CheckpointFormat,
  checkpointFormats,
  int4Groups,
  quantizedFormats,
  type QuantizedFormat,
  quantizationConfig,
  quantizedDtype,
} from "./checkpoint/index.ts";
export {
  CachedModel,
  type Environment,
  HubError,
  type HubModel,
  hubPlaces,
  parseHubModel,
  pullModel,
  type PullPlan,
  userCaches,
} from "./hub/index.ts";
export { kvEntryBytes } from "./checkpoint/index.ts";
export {
  allow,
  type AskedCalls,
  type CalledFunction,
  type FollowedGrammar,
  FunctionError,
  GrammarError,
  Grammars,
  type GrammarSource,
  markersOf,
  maskWithout,
  type Place,
  type TextSource,
  TokenOrder,
  UNKNOWN,
} from "./grammar/index.ts";
