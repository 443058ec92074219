import {
  codeBytes,
  isWeightDtype,
  scaleShape,
  type ScaleBlock,
  type WeightDtype,
} from "../../kernels/index.ts";
import type { TensorEntry } from "./safetensors.ts";
import type { TensorLayout } from "./safetensors-writer.ts";

/** A tensor of those that keep a weight. */
export interface StoredTensor extends TensorLayout {
  readonly part: "codes" | "scales" | "shape";
}

/** What checkpoints call the scales of `x.weight`: DeepSeek's, whose scales multiply, and others'. */
const scaleSuffixes = [".weight_scale_inv", ".weight_scale"] as const;
const PACKED = ".weight_packed";
const SHAPE = ".weight_shape";
const ZERO_POINT = ".weight_zero_point";
/** Of GPTQ and AWQ: codes, zero points, scales, and the group of each input, which is not read. */
const GPTQ = { codes: ".qweight", zeroPoints: ".qzeros", scales: ".scales", group: ".g_idx" };

const renamed = (weight: string, suffix: string) => weight.replace(/(\.weight)?$/, suffix);

/** Names that a weight's scales may have. */
export const scaleNames = (weight: string) => scaleSuffixes.map((each) => renamed(weight, each));

/** What the tensors of a weight are called whose codes lie in words. */
export interface PackedNames {
  readonly codes: string;
  readonly scales: string;
  readonly zeroPoints: string;
}

export function compressedTensorsNames(weight: string): PackedNames {
  return {
    codes: renamed(weight, PACKED),
    scales: renamed(weight, scaleSuffixes[1]),
    zeroPoints: renamed(weight, ZERO_POINT),
  };
}

export function gptqNames(weight: string): PackedNames {
  return {
    codes: renamed(weight, GPTQ.codes),
    scales: renamed(weight, GPTQ.scales),
    zeroPoints: renamed(weight, GPTQ.zeroPoints),
  };
}

/** INT4 codes in a word of a packed tensor. */
export const CODES_PER_WORD = 8;

/** Words of a packed row. */
export const wordsOf = (columns: number) => Math.ceil(columns / CODES_PER_WORD);

export const isPacked = (name: string) => [PACKED, GPTQ.codes].some((each) => name.endsWith(each));

/** The dtype of the weight whose codes a tensor holds; undefined for other tensors. */
export function storedDtype({ name, dtype }: TensorEntry): WeightDtype | undefined {
  if (isPacked(name)) return "I4";
  return isWeightDtype(dtype) && !isAuxiliary(name) ? dtype : undefined;
}

/** Whether a tensor says how to read another. */
export function isAuxiliary(name: string): boolean {
  const { zeroPoints, scales, group } = GPTQ;
  const suffixes = [...scaleSuffixes, SHAPE, ZERO_POINT, zeroPoints, scales, group];
  return suffixes.some((suffix) => name.endsWith(suffix));
}

/**
 * The tensors that keep a weight of ours: FP8 as DeepSeek's checkpoints have it, integers as
 * compressed-tensors.
 */
export function storedTensors(
  name: string,
  dtype: WeightDtype,
  shape: readonly number[],
  block?: ScaleBlock,
): StoredTensor[] {
  const scales = scaleShape(dtype, shape, block);
  if (!scales) return [tensorOf("codes", name, dtype, shape)];
  const [deepseek, others] = scaleNames(name);
  if (dtype !== "I4") {
    const scaleName = dtype === "F8_E4M3" ? deepseek : others;
    return [tensorOf("codes", name, dtype, shape), tensorOf("scales", scaleName, "F32", scales)];
  }
  const [rows, columns] = shape;
  const bytes = codeBytes(dtype, shape);
  return [
    {
      ...{ part: "codes", name: compressedTensorsNames(name).codes, dtype: "I32", bytes },
      shape: [rows, wordsOf(columns)],
    },
    tensorOf("scales", others, "BF16", scales),
    { part: "shape", name: renamed(name, SHAPE), dtype: "I64", shape: [2], bytes: 16 },
  ];
}

/** What the tensor of a weight's shape holds. */
export const shapeBytes = (shape: readonly number[]) =>
  new Uint8Array(BigInt64Array.from(shape, BigInt).buffer);

function tensorOf(
  part: StoredTensor["part"],
  name: string,
  dtype: WeightDtype,
  shape: readonly number[],
): StoredTensor {
  return { part, name, dtype, shape, bytes: codeBytes(dtype, shape) };
}
