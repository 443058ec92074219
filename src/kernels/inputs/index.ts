export {
  doubles,
  floats,
  inputs,
  integers,
  marginsHold,
  outputOperand,
  storedRows,
  type Values,
} from "./guarded-memory.ts";
export { gemmInputs, groupedGemmInputs, operandOf, type MatmulSizes } from "./matmul-inputs.ts";
export { mlaInputs, type MlaSizes } from "./mla-inputs.ts";
export { gaussian, randomSource } from "./random.ts";
export type { GeneratorSetting, WeightMaker } from "./weight-maker.ts";
