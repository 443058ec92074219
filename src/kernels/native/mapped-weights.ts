import type { AddonWeightFiles, NativeAddon } from "../native-addon.ts";
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
}

export const weightLayouts = { rows: 0, strips: 1 };

/** Bytes of native/host/commands.h's Weight. */
const WEIGHT_BYTES = 48;

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
  /** The latter as the addon reads them. */
  readonly #spread: Float32Array[] = [];

  /** `strips`: dtypes of linear weights that are multiplied as strips where they have some. */
  constructor(addon: NativeAddon, files: AddonWeightFiles, strips: readonly WeightDtype[] = []) {
    this.#addon = addon;
    this.files = files;
    this.#strips = strips;
  }

  /** A linear weight, in strips where it has some and the kernels like them. */
  linear(weight: Weight): MappedWeight {
    if (!weight.strips || !this.#strips.includes(weight.dtype)) return this.map(weight);
    let mapped = this.#linear.get(weight);
    if (!mapped) {
      const { file, offset } = weight.strips;
      const data = this.files.open(file).address + offset;
      mapped = { ...this.map(weight), data, layout: weightLayouts.strips };
      this.#linear.set(weight, mapped);
    }
    return mapped;
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

  /** A list of linear weights as an array of native/host/commands.h's Weight; lists are not to be changed. */
  table(weights: readonly Weight[]): BigInt64Array {
    let table = this.#lists.get(weights);
    if (!table) {
      table = new BigInt64Array((weights.length * WEIGHT_BYTES) / 8);
      for (const [i, weight] of weights.entries()) {
        const { dtype, rows, columns, data, scales, layout } = this.linear(weight);
        table.set([dtype, rows, columns, data, scales, layout].map(BigInt), (i * WEIGHT_BYTES) / 8);
      }
      this.#lists.set(weights, table);
    }
    return table;
  }

  #map(weight: Weight): MappedWeight {
    if (weight.dtype === "I4" || weight.dtype === "F8_E8M0") {
      const problem = `is ${weight.dtype}, which only the reference multiplies`;
      throw new WeightError(`tensor ${weight.name} ${problem}`);
    }
    const rows = weight.shape.length === 2 ? weight.shape[0] : 1;
    const columns = weight.shape[weight.shape.length - 1];
    const { address, size } = this.files.open(weight.file);
    refuseShort(weight, codeBytes(weight.dtype, weight.shape), size);
    return {
      dtype: dtypeNumbers[weight.dtype],
      rows,
      columns,
      data: address + weight.offset,
      scales: weight.scale ? this.#scales(weight.scale, weight) : 0,
      layout: weightLayouts.rows,
    };
  }

  /** Where float32 scales for the blocks of native/host/formats.h lie. */
  #scales(scale: Weight, weight: Weight): number {
    const [block] = weightFormats[weight.dtype].scaleBlocks;
    const isOurs = String(scaleBlockOf(weight.dtype, weight.shape, scale.shape)) === String(block);
    if (isOurs && scale.dtype === "F32") return this.map(scale).data;
    const scales = blockScales(this.#decoded.vector(scale), weight, block);
    this.#spread.push(scales);
    return this.#addon.address(scales);
  }
}
