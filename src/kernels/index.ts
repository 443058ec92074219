export type { Policy, ScaleFormat } from "./policy.ts";
export { policies, scaleFormats } from "./policy.ts";
export type { Weight, WeightDtype } from "./weight.ts";
export { bytesPerElement, SCALE_BLOCK } from "./weight.ts";
export type {
  GateRule,
  Kernels,
  KvLayer,
  MlaShape,
  Operand,
  QuantizedWeight,
  Rope,
  RowGroups,
  StepLayout,
  StoredRows,
  Stream,
} from "./stream.ts";
export { KV_PIECE_TOKENS, PAGE_TOKENS } from "./stream.ts";
export { allocate } from "./buffers.ts";
export {
  createOperand,
  createQuantizedWeight,
  createStoredRows,
  storedOperand,
} from "./quantize.ts";
export { e4m3Values, fromBf16, fromF16, toBf16, toE4m3 } from "./float-formats.ts";
export { WeightError } from "./weight-reader.ts";
export { createReferenceKernels } from "./reference.ts";
export {
  createNativeKernels,
  instructionSets,
  nativeProblem,
  type NativeOptions,
} from "./native.ts";
export {
  residentWeights,
  weightMemories,
  type ResidentWeights,
  type WeightMemory,
} from "./resident-weights.ts";
export { Probes, type ProbesOptions } from "./probes.ts";
export { usableCores } from "./cores.ts";
export { availableMemory, usableMemory } from "./memory.ts";
export { mlaInputs, type MlaSizes } from "./generated-attention.ts";
export { gemmInputs, groupedGemmInputs, type MatmulSizes } from "./generated-operations.ts";
export type { WeightMaker } from "./generators.ts";
export { createKernels } from "./create-kernels.ts";
export {
  greedySampling,
  StepSampling,
  type ChosenToken,
  type SamplingParameters,
  type TokenChoice,
  type TokenLogprob,
} from "./sample.ts";
