import type { OperandFormatName, RowFormat } from "./operand-format.ts";
import type { WeightDtype } from "./weight-format.ts";

/** Where a precision policy rounds. */
export interface Precision {
  /** The inputs of matmuls and of attention's products. */
  readonly activation: RowFormat;
  /** Instead, the inputs of linear layers whose weights are of these dtypes. */
  readonly quantized: Readonly<Partial<Record<WeightDtype, OperandFormatName>>>;
  /** The entries of the KV cache. */
  readonly kv: RowFormat;
  /** The experts' output rows. */
  readonly rows: RowFormat;
  /** Whether BF16 tiles may multiply, whose bits are not those of every other instruction set. */
  readonly tiles: boolean;
}

/**
 * A precision policy fixes where a model rounds; its name is part of the model's identity.
 *
 * - `f32`: float32 activations and KV; the parity oracle.
 * - `w8a16`: every matmul input, KV entry and expert output row is rounded to BF16 once.
 * - `w8a8`: as w8a16, but the input of every FP8 linear layer is quantised to FP8 with a scale for
 *   each block of a row, as DeepSeek-V3 was trained.
 * - `int8`: as w8a16, but the input of every linear layer with integer weights is quantised to INT8
 *   with a scale for each block of a row, and sums inside a block are exact.
 */
export const precisions = {
  f32: { activation: "f32", quantized: {}, kv: "f32", rows: "f32", tiles: false },
  w8a16: { activation: "bf16", quantized: {}, kv: "bf16", rows: "bf16", tiles: true },
  w8a8: {
    activation: "bf16",
    quantized: { F8_E4M3: "fp8" },
    kv: "bf16",
    rows: "bf16",
    tiles: true,
  },
  int8: {
    activation: "bf16",
    quantized: { I8: "int8", I4: "int8" },
    kv: "bf16",
    rows: "bf16",
    tiles: false,
  },
} as const satisfies Readonly<Record<string, Precision>>;

export type Policy = keyof typeof precisions;

export const policies = Object.keys(precisions) as readonly Policy[];

/** The format in which rows enter a matmul with a weight of this dtype. */
export function operandFormat(policy: Policy, weight: WeightDtype): OperandFormatName {
  const { activation, quantized }: Precision = precisions[policy];
  return quantized[weight] ?? activation;
}

/** What products multiply: integer codes, BF16 values or float32. In the order of native/host/kernel-table.h. */
export const multiplyKinds = ["int8", "bf16", "f32"] as const;
export type MultiplyKind = (typeof multiplyKinds)[number];
/** Of each kind: its instructions, operations, or billions of them a second. */
export type ByMultiplyKind<Value> = Readonly<Record<MultiplyKind, Value>>;

export function byMultiplyKind<Value>(
  valueOf: (kind: MultiplyKind, number: number) => Value,
): ByMultiplyKind<Value> {
  const [int8, bf16, f32] = multiplyKinds.map(valueOf);
  return { int8, bf16, f32 };
}

/** What rows are multiplied as with a weight of this dtype, in a linear layer or absorbed. */
export function multiplyKindOf(
  policy: Policy,
  weight: WeightDtype,
  use: "linear" | "absorbed",
): MultiplyKind {
  const input = use === "linear" ? operandFormat(policy, weight) : precisions[policy].activation;
  if (input === "int8") return "int8";
  return input === "f32" || weight === "F32" || weight === "F16" ? "f32" : "bf16";
}

/**
 * How the scales of quantised values are kept: any float32, or powers of two ("ue8m0", as
 * DeepSeek-V3.1 was trained), rounded up so that no value overflows.
 */
export type ScaleFormat = "f32" | "ue8m0";

export const scaleFormats: readonly ScaleFormat[] = ["f32", "ue8m0"];
