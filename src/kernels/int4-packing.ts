import { scaleBlockOf } from "./weight-format.ts";

/**
 * How INT4 codes lie where it is not row after row with 8 for zero; words hold eight codes.
 *
 * - `rows`: words along the inputs, [outputs, inputs / 8]; zero points in words along the outputs,
 *   [outputs / 8, groups]; scales [outputs, groups] (compressed-tensors)
 * - `gptq`: words along the inputs, [inputs / 8, outputs]; zero points and scales by group first,
 *   [groups, outputs / 8] and [groups, outputs]
 * - `awq`: words along the outputs, [inputs, outputs / 8], even outputs of eight before odd ones;
 *   zero points likewise, [groups, outputs / 8]; scales [groups, outputs]
 */
export interface Int4Packing {
  readonly order: "rows" | "gptq" | "awq";
  /** Where the zero points lie, as a matrix of codes, eight for each word. */
  readonly zeroPoints?: { readonly name: string; readonly file: string; readonly offset: number };
  /** What a zero point is above what is stored for it. */
  readonly zeroPointBias: number;
}

/** What a group's values are made of, each in its tensor's order; codes and zero points less 8. */
export interface PackedInt4 {
  readonly codes: Float32Array;
  readonly zeroPoints: Float32Array | undefined;
  readonly scales: Float32Array;
  readonly outputs: number;
  readonly inputs: number;
  readonly groups: number;
}

/** A code's place in a matrix of codes that has eight for each word. */
type Place = (output: number, other: number) => number;

/** Sides of the matrix of codes. */
export function codesShape({ order }: Int4Packing, [outputs, inputs]: readonly number[]): number[] {
  if (order === "rows") return [outputs, inputs];
  return order === "gptq" ? [Math.ceil(inputs / 8), outputs * 8] : [inputs, outputs];
}

/** Sides of the matrix of zero points. */
export function zeroPointsShape(
  { order }: Pick<Int4Packing, "order">,
  outputs: number,
  groups: number,
) {
  return order === "rows" ? [Math.ceil(outputs / 8), groups * 8] : [groups, outputs];
}

/** Inputs that share a scale, of a weight of this shape. */
export function int4Group(
  shape: readonly number[],
  scales: readonly number[],
  order: Int4Packing["order"] = "rows",
): number {
  return scaleBlockOf("I4", shape, order === "rows" ? scales : scales.toReversed())![1];
}

/** Where AWQ keeps the outputs of a word. */
const awqPlaces = [0, 4, 1, 5, 2, 6, 3, 7];
const inAwqWord = (output: number) => output - (output % 8) + awqPlaces[output % 8];

function placesOf(order: Int4Packing["order"], { outputs, inputs, groups }: PackedInt4) {
  const byGroup: Place = (output, group) => group * outputs + output;
  const places: Record<Int4Packing["order"], { code: Place; zeroPoint: Place; scale: Place }> = {
    rows: {
      code: (output, input) => output * inputs + input,
      zeroPoint: (output, group) => ((output >> 3) * groups + group) * 8 + (output & 7),
      scale: (output, group) => output * groups + group,
    },
    gptq: {
      code: (output, input) => ((input >> 3) * outputs + output) * 8 + (input & 7),
      zeroPoint: byGroup,
      scale: byGroup,
    },
    awq: {
      code: (output, input) => input * outputs + inAwqWord(output),
      zeroPoint: (output, group) => group * outputs + inAwqWord(output),
      scale: byGroup,
    },
  };
  return places[order];
}

/** The weight row after row: codes less their zero points, [outputs, inputs], and scales, [outputs, groups]. */
export function unpackInt4(packed: PackedInt4, { order, zeroPointBias }: Int4Packing) {
  const { codes, zeroPoints, outputs, inputs, groups } = packed;
  const place = placesOf(order, packed);
  const values = new Float32Array(new SharedArrayBuffer(outputs * inputs * 4));
  const scales = new Float32Array(outputs * groups);
  const group = int4Group([outputs, inputs], [outputs, groups]);
  for (let output = 0; output < outputs; output++) {
    for (let g = 0; g < groups; g++) {
      const zero = zeroPoints ? zeroPoints[place.zeroPoint(output, g)] + zeroPointBias : 0;
      scales[output * groups + g] = packed.scales[place.scale(output, g)];
      for (let input = g * group; input < Math.min(inputs, (g + 1) * group); input++) {
        values[output * inputs + input] = codes[place.code(output, input)] - zero;
      }
    }
  }
  return { values, scales };
}
