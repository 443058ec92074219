export { mlaInputs, type MlaSizes } from "./generated-attention.ts";
export { gemmInputs, groupedGemmInputs, type MatmulSizes } from "./generated-operations.ts";
export type { WeightMaker } from "./generators.ts";
