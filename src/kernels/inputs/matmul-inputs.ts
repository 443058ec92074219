import { outputOperand } from "./guarded-memory.ts";
import { gaussian, randomSource } from "./random.ts";
import type { GeneratorSetting } from "./weight-maker.ts";
import type { Operand, OperandFormatName } from "../operand-format.ts";
import { operandFormat } from "../policy.ts";
import { quantize } from "../quantize.ts";
import type { WeightDtype } from "../weight-format.ts";
import type { Weight } from "../weight.ts";

/** Random rows as a policy rounds them for a matmul. */
export function operandOf(
  random: () => number,
  format: OperandFormatName,
  rows: number,
  columns: number,
) {
  const operand = outputOperand(format, rows, columns);
  quantize(operand, gaussian(random, rows * columns), rows, "f32");
  return operand;
}

export interface MatmulSizes {
  readonly rows: number;
  readonly outputs: number;
  readonly columns: number;
  readonly dtype: WeightDtype;
}

/** A matmul's random weight, and input rows as the policy rounds them. */
export function gemmInputs(
  { folder, policy, seed }: GeneratorSetting,
  { rows, outputs, columns, dtype }: MatmulSizes,
): { readonly weight: Weight; readonly x: Operand } {
  const random = randomSource(seed);
  const { weight } = folder.create(random, dtype, [outputs, columns]);
  const format = operandFormat(policy, dtype);
  return { weight, x: operandOf(random, format, rows, columns) };
}

/** The random weights of some experts, and input rows for all of them together. */
export function groupedGemmInputs(
  { folder, policy, seed }: GeneratorSetting,
  { rows, outputs, columns, dtype, experts }: MatmulSizes & { readonly experts: number },
): { readonly weights: readonly Weight[]; readonly x: Operand } {
  const random = randomSource(seed);
  const weights = Array.from(
    { length: experts },
    () => folder.create(random, dtype, [outputs, columns]).weight,
  );
  const format = operandFormat(policy, dtype);
  return { weights, x: operandOf(random, format, rows, columns) };
}
