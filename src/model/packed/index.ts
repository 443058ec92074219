export { openWeights } from "./open-weights.ts";
export { PackedFile } from "./packed-file.ts";
