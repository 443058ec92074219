export { type Checkpoint, openCheckpoint } from "./checkpoint.ts";
export { shapeBytes, storedDtype, storedTensors, type StoredTensor } from "./stored-weight.ts";
export {
  type CheckpointFormat,
  checkpointFormats,
  int4Groups,
  quantizedFormats,
  type QuantizedFormat,
  quantizationConfig,
  quantizedDtype,
} from "./checkpoint-format.ts";
export { contextLimit, type ModelConfig, readConfig } from "./config.ts";
export { defaultPolicy } from "./default-policy.ts";
export {
  modelIdentity,
  type ModelIdentity,
  numericIdentity,
  type NumericIdentity,
} from "./identity.ts";
export { type Inspection, inspectModel } from "./inspect.ts";
export { kvEntryBytes } from "./kv-bytes.ts";
export { fileHash, type HashedBytes, modelHash } from "./model-hash.ts";
export { quantizeCheckpoint, type QuantizedGroup } from "./quantize-checkpoint.ts";
export {
  bytesOf,
  expectRoom,
  roomOf,
  type TensorLayout,
  type WriteBytes,
  writeSafetensors,
} from "./safetensors-writer.ts";
export { CheckpointError, readSafetensors } from "./safetensors.ts";
export {
  type AttentionWeights,
  type LayerWeights,
  linearWeights,
  type MlpWeights,
  type ModelWeights,
  modelWeights,
  type MoeWeights,
  type MtpWeights,
  type WeightSource,
} from "./weights.ts";
