import { allocate } from "../buffers.ts";
import { usableCores } from "../cores.ts";
import type {
  AddonStripShape,
  AddonStripSource,
  AddonWeightFiles,
  NativeAddon,
} from "../native-addon.ts";
import { codesShape, int4Group, type Int4Packing } from "../int4-packing.ts";
import type { OperandFormatName } from "../operand-format.ts";
import { codeBytes, scaleBlockOf, weightFormats, type WeightDtype } from "../weight-format.ts";
import type { Weight } from "../weight.ts";
import { blockScales, refuseShort, WeightError, WeightReader } from "../weight-reader.ts";

/** Numbers of native/host/formats.h. */
export const dtypeNumbers: Readonly<Record<Exclude<WeightDtype, "F8_E8M0">, number>> = {
  F32: 0,
  BF16: 1,
  F16: 2,
  F8_E4M3: 3,
  I8: 4,
  I4: 5,
};

export const formatNumbers: Readonly<Record<OperandFormatName, number>> = {
  f32: dtypeNumbers.F32,
  bf16: dtypeNumbers.BF16,
  fp8: dtypeNumbers.F8_E4M3,
  int8: dtypeNumbers.I8,
};

/** A weight as a command carries it. */
export interface MappedWeight {
  readonly dtype: number;
  /** Vectors count as one row. */
  readonly rows: number;
  readonly columns: number;
  /** Addresses; 0 where the weight has no scales. */
  readonly data: number;
  readonly scales: number;
  /** Number of native/host/commands.h's WeightLayout. */
  readonly layout: number;
  /** Of INT4: inputs that share a scale, and the number of an Int4Strips. */
  readonly group: number;
  readonly int4: number;
}

/** Of native/host/strips.h's Int4Order. */
const int4Orders: Readonly<Record<Int4Packing["order"], number>> = { rows: 0, gptq: 1, awq: 2 };

const weightLayouts = { rows: 0, strips: 1 };
/** Numbers of native/host/commands.h's Int4Strips. */
const int4Strips = {
  bf16: { symmetric: 0, zeroPoints: 2 },
  f32: { symmetric: 1, zeroPoints: 3 },
};
const noInt4 = { group: 0, int4: 0 };

/** Words of native/host/commands.h's Weight. */
const WEIGHT_WORDS = 8;

/** Weights where the addon has their files. */
export class MappedWeights {
  readonly files: AddonWeightFiles;
  readonly #addon: NativeAddon;
  readonly #strips: readonly WeightDtype[];
  readonly #weights = new WeakMap<Weight, MappedWeight>();
  readonly #linear = new WeakMap<Weight, MappedWeight>();
  readonly #lists = new WeakMap<readonly Weight[], BigInt64Array>();
  /** Scales that are not float32 in their file, or for larger blocks. */
  readonly #decoded = new WeightReader();
  /** What the addon reads of such scales, and strips of its own making. */
  readonly #made: (Float32Array | Uint8Array)[] = [];

  /** `strips`: dtypes of linear weights that are multiplied as strips where they have some. */
  constructor(addon: NativeAddon, files: AddonWeightFiles, strips: readonly WeightDtype[] = []) {
    this.#addon = addon;
    this.files = files;
    this.#strips = strips;
  }

  /** A linear weight, in strips where it has some and the kernels like them. */
  linear(weight: Weight, operand?: OperandFormatName): MappedWeight {
    // Plain products read along rows.
    if (operand === "f32") return this.map(weight);
    let mapped = this.#linear.get(weight);
    if (!mapped) {
      mapped = this.#mapLinear(weight);
      this.#linear.set(weight, mapped);
    }
    return mapped;
  }

  #expectAlike(weight: Weight, like: Weight): void {
    const [own, expected] = [this.linear(weight), this.linear(like)];
    for (const what of ["dtype", "rows", "columns", "layout", "group"] as const) {
      if (own[what] === expected[what]) continue;
      const problem = `another ${what} than ${like.name}, with which it is multiplied`;
      throw new WeightError(`tensor ${weight.name} has ${problem}`);
    }
  }

  #mapLinear(weight: Weight): MappedWeight {
    const { dtype, strips } = weight;
    if (!this.#strips.includes(dtype)) return this.map(weight);
    if (strips) return this.#inStrips(weight, this.files.open(strips.file).address + strips.offset);
    if (dtype !== "I4") return this.map(weight);
    return weight.packing
      ? this.#inStrips(weight, this.#ownStrips(weight))
      : this.#int4Rows(weight);
  }

  /** A weight in strips, which hold its scales where each row has its own. */
  #inStrips(weight: Weight, data: number): MappedWeight {
    const { scale, dtype } = weight;
    const [[blockRows] = [1]] = weightFormats[dtype].scaleBlocks;
    const scales = scale && blockRows > 1 ? this.#scales(scale, weight) : 0;
    return { ...stripShape(weight), data, scales, layout: weightLayouts.strips };
  }

  /** INT4 codes row after row. */
  #int4Rows(weight: Weight): MappedWeight {
    const scales = this.#decoded.vector(weight.scale!);
    this.#made.push(scales);
    return {
      ...{ ...stripShape(weight), int4: int4Strips.f32.symmetric, layout: weightLayouts.rows },
      ...{ data: this.#codes(weight), scales: this.#addon.address(scales) },
    };
  }

  /** A copy of a weight in strips, in memory. */
  strips(weight: Weight): Uint8Array {
    const source = this.stripSource(weight);
    const strips = allocate(Uint8Array, this.#addon.stripBytes(source));
    this.#addon.packStrips(strips, source, usableCores());
    return strips;
  }

  /** Of codes that no kernel multiplies as they lie. */
  #ownStrips(weight: Weight): number {
    const strips = this.strips(weight);
    this.#made.push(strips);
    return this.#addon.address(strips);
  }

  #codes(weight: Weight): number {
    const { address, size } = this.files.open(weight.file);
    const { dtype, shape, packing } = weight;
    refuseShort(weight, codeBytes(dtype, packing ? codesShape(packing, shape) : shape), size);
    return address + weight.offset;
  }

  /** What strips are made of. */
  stripSource(weight: Weight): AddonStripSource {
    const { dtype, scale, packing } = weight;
    const order = int4Orders[packing?.order ?? "rows"];
    const shape = { ...stripShape(weight), order };
    if (dtype !== "I4") {
      const { data, scales } = this.map(weight);
      const none = { scaleType: dtypeNumbers.F32, zeroPoints: 0, zeroPointBias: 0 };
      return { ...shape, ...none, data, scales };
    }
    const addressOf = ({ file, offset }: { readonly file: string; readonly offset: number }) =>
      this.files.open(file).address + offset;
    return {
      ...shape,
      data: this.#codes(weight),
      scales: addressOf(scale!),
      scaleType: dtypeNumber(scale!),
      zeroPoints: packing?.zeroPoints ? addressOf(packing.zeroPoints) : 0,
      zeroPointBias: packing?.zeroPointBias ?? 0,
    };
  }

  /**
   * A weight's rows.
   * @throws WeightError if the file is too short
   */
  map(weight: Weight): MappedWeight {
    let mapped = this.#weights.get(weight);
    if (!mapped) {
      mapped = this.#map(weight);
      this.#weights.set(weight, mapped);
    }
    return mapped;
  }

  /**
   * A list of linear weights as an array of native/host/commands.h's Weight; lists are not to be changed.
   * @throws WeightError unless all are multiplied as `like` is: it alone decides which kernel does, and how rows are packed
   */
  table(weights: readonly Weight[], like: Weight = weights[0]): BigInt64Array {
    let table = this.#lists.get(weights);
    if (!table) {
      table = new BigInt64Array(weights.length * WEIGHT_WORDS);
      for (const [i, weight] of weights.entries()) {
        this.#expectAlike(weight, like);
        const { dtype, rows, columns, data, scales, layout, group, int4 } = this.linear(weight);
        const words = [dtype, rows, columns, data, scales, layout, group, int4];
        table.set(words.map(BigInt), i * WEIGHT_WORDS);
      }
      this.#lists.set(weights, table);
    }
    return table;
  }

  #map(weight: Weight): MappedWeight {
    if (weight.dtype === "I4") {
      const problem = "which native kernels multiply in linear layers under the policy int8 only";
      throw new WeightError(`tensor ${weight.name} is INT4, ${problem}`);
    }
    return {
      dtype: dtypeNumber(weight),
      ...sidesOf(weight),
      data: this.#codes(weight),
      scales: weight.scale ? this.#scales(weight.scale, weight) : 0,
      layout: weightLayouts.rows,
      ...noInt4,
    };
  }

  /** Where float32 scales for the blocks of native/host/formats.h lie. */
  #scales(scale: Weight, weight: Weight): number {
    const [block] = weightFormats[weight.dtype].scaleBlocks;
    const isOurs = String(scaleBlockOf(weight.dtype, weight.shape, scale.shape)) === String(block);
    if (isOurs && scale.dtype === "F32") return this.map(scale).data;
    const scales = blockScales(this.#decoded.vector(scale), weight, block);
    this.#made.push(scales);
    return this.#addon.address(scales);
  }
}

/** What decides how many strips a linear weight has, and how long they are. */
export function stripShape(weight: Weight): AddonStripShape {
  return { dtype: dtypeNumber(weight), ...sidesOf(weight), ...int4Of(weight) };
}

/** Vectors count as one row. */
function sidesOf({ shape }: Weight) {
  return { rows: shape.length === 2 ? shape[0] : 1, columns: shape[shape.length - 1] };
}

/** An INT4 weight's group, and what its strips hold. */
function int4Of({ dtype, shape, scale, packing }: Weight) {
  if (dtype !== "I4") return noInt4;
  const group = int4Group(shape, scale!.shape, packing?.order);
  const kinds = scale!.dtype === "BF16" ? int4Strips.bf16 : int4Strips.f32;
  return { group, int4: kinds[packing?.zeroPoints ? "zeroPoints" : "symmetric"] };
}

function dtypeNumber({ name, dtype }: Weight): number {
  if (dtype !== "F8_E8M0") return dtypeNumbers[dtype];
  throw new WeightError(`tensor ${name} is F8_E8M0, which only the reference multiplies`);
}
