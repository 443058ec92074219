export type { ByMultiplyKind, MultiplyKind, Policy, ScaleFormat } from "./policy.ts";
export { byMultiplyKind, multiplyKindOf, multiplyKinds } from "./policy.ts";
export { operandFormat, policies, precisions, scaleFormats } from "./policy.ts";
export type { Weight } from "./weight.ts";
export { int4Group, type Int4Packing } from "./int4-packing.ts";
export {
  codeBytes,
  isWeightDtype,
  rowBytes,
  SCALE_BLOCK,
  scaleBlockOf,
  scaleShape,
  weightFormats,
  type ScaleBlock,
  type WeightDtype,
} from "./weight-format.ts";
export {
  operandFormats,
  operandRowBytes,
  operandRows,
  type Operand,
  type OperandFormatName,
  type RowFormat,
  type StoredRows,
} from "./operand-format.ts";
export type {
  ExpertWeights,
  GateRule,
  Kernels,
  KvLayer,
  MlpBuffers,
  MlaShape,
  QuantizedDtype,
  QuantizedWeight,
  Rope,
  RowGroups,
  SortedRows,
  StepLayout,
  Stream,
  TokenMask,
} from "./stream.ts";
export { KV_PIECE_TOKENS, PAGE_TOKENS } from "./stream.ts";
export { allocate } from "./buffers.ts";
export {
  createExchange,
  exchangesRows,
  sharedRows,
  type ExchangeCounts,
  type ExchangeShape,
  type ExchangeStream,
  type ReplicaChoices,
  type SharedRows,
} from "./shared-rows.ts";
export { createOperand, createStoredRows, rowsOf, storedOperand } from "./quantize.ts";
export { createQuantizedWeight } from "./quantize-weight.ts";
export { exponential, logarithm, power } from "./elementary.ts";
export { e4m3Values, fromBf16, fromF16, toBf16, toE4m3 } from "./float-formats.ts";
export { WeightError, WeightReader } from "./weight-reader.ts";
export { createReferenceKernels } from "./reference/index.ts";
export {
  createNativeKernels,
  instructionSets,
  nativeProblem,
  type NativeOptions,
} from "./native/index.ts";
export {
  residentWeights,
  weightMemories,
  type ResidentWeights,
  type WeightMemory,
} from "./native/index.ts";
export {
  mapsHugePages,
  Probes,
  type ProbesOptions,
  STRIP_LAYOUT,
  StripPacker,
} from "./native/index.ts";
export { coresOfEach, usableCores } from "./cores.ts";
export { availableMemory, usableMemory } from "./memory.ts";
export { gaussian, randomSource } from "./inputs/index.ts";
export { mlaInputs, type MlaSizes } from "./inputs/index.ts";
export { gemmInputs, groupedGemmInputs, type MatmulSizes } from "./inputs/index.ts";
export type { WeightMaker } from "./inputs/index.ts";
export { createKernels } from "./create-kernels.ts";
export {
  greedySampling,
  SamplingState,
  allows,
  onlyToken,
  StepSampling,
  type ChosenToken,
  type SamplingParameters,
  type TokenChoice,
  type TokenLogprob,
} from "./sampling/index.ts";
