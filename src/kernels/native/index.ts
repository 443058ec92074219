export {
  createNativeKernels,
  instructionSets,
  type NativeOptions,
  nativeProblem,
} from "./native.ts";
export { mapsHugePages } from "./file-pages.ts";
export { Probes, type ProbesOptions } from "./probes.ts";
export {
  residentWeights,
  type ResidentWeights,
  weightMemories,
  type WeightMemory,
} from "./resident-weights.ts";
export { STRIP_LAYOUT, StripPacker } from "./strips.ts";
