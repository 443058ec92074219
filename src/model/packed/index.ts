export { openWeights } from "./open-weights.ts";
export { packedFile, type PackedFile, type PackedModel } from "./packed-file.ts";
