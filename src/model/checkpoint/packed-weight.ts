import {
  isWeightDtype,
  scaleBlockOf,
  weightFormats,
  type Int4Packing,
  type Weight,
} from "../../kernels/index.ts";
import { CheckpointError, type TensorEntry } from "./safetensors.ts";
import { compressedTensorsNames, gptqNames, wordsOf, type PackedNames } from "./stored-weight.ts";

type Find = (name: string) => TensorEntry | undefined;

/**
 * The handle of a weight whose INT4 codes lie in words, in tensors of compressed-tensors, GPTQ or AWQ;
 * undefined where the checkpoint has none. `zeroPointBias` is what GPTQ's zero points are above what
 * is stored.
 *
 * @throws CheckpointError naming the tensor that is missing, misshapen or of another kind
 */
export function packedWeight(
  name: string,
  shape: readonly number[],
  find: Find,
  zeroPointBias: number,
): Weight | undefined {
  const rows = compressedTensorsNames(name);
  if (find(rows.codes)) return new PackedTensors(name, shape, find, rows, "rows").weight(0);
  const words = gptqNames(name);
  const codes = find(words.codes);
  if (!codes) return undefined;
  const isAwq = codes.shape[0] === shape[1];
  const tensors = new PackedTensors(name, shape, find, words, isAwq ? "awq" : "gptq");
  return tensors.weight(isAwq ? 0 : zeroPointBias);
}

class PackedTensors {
  readonly #name: string;
  readonly #shape: readonly number[];
  readonly #find: Find;
  readonly #names: PackedNames;
  readonly #order: Int4Packing["order"];

  constructor(
    name: string,
    shape: readonly number[],
    find: Find,
    names: PackedNames,
    order: Int4Packing["order"],
  ) {
    this.#name = name;
    this.#shape = shape;
    this.#find = find;
    this.#names = names;
    this.#order = order;
  }

  weight(zeroPointBias: number): Weight {
    const [outputs, inputs] = this.#shape;
    const order = this.#order;
    const { file, offset } = this.#words(this.#names.codes, {
      rows: [outputs, wordsOf(inputs)],
      gptq: [wordsOf(inputs), outputs],
      awq: [inputs, wordsOf(outputs)],
    });
    const scale = this.#scale();
    const groups = scale.shape[order === "rows" ? 1 : 0];
    const weight: Weight = {
      ...{ name: this.#name, dtype: "I4", shape: this.#shape, file, offset, scale },
    };
    const hasZeroPoints = this.#find(this.#names.zeroPoints) !== undefined;
    if (order === "rows" && !hasZeroPoints) return weight;
    const byGroup = [groups, wordsOf(outputs)];
    const zeroPoints = hasZeroPoints
      ? this.#words(this.#names.zeroPoints, {
          rows: [wordsOf(outputs), groups],
          ...{ gptq: byGroup, awq: byGroup },
        })
      : undefined;
    const packing = { order, zeroPointBias, ...(zeroPoints ? { zeroPoints } : {}) };
    return { ...weight, packing };
  }

  /** A tensor of words, whose shape depends on the order. */
  #words(name: string, shapes: Record<Int4Packing["order"], readonly number[]>): TensorEntry {
    const entry = this.#entry(name);
    const expected = shapes[this.#order];
    if (entry.dtype === "I32" && String(entry.shape) === String(expected)) return entry;
    const got = `${entry.dtype} [${entry.shape.join(", ")}]`;
    throw new CheckpointError(
      entry.file,
      `expected I32 [${expected.join(", ")}], got ${got}`,
      name,
    );
  }

  #scale(): Weight {
    const { name, dtype, shape, file, offset } = this.#entry(this.#names.scales);
    const [outputs] = this.#shape;
    const byRow = this.#order === "rows" ? shape : shape.toReversed();
    const { scaleTypes, scaleBlocks } = weightFormats.I4;
    if (!isWeightDtype(dtype) || !scaleTypes.includes(dtype)) {
      throw new CheckpointError(file, `expected ${scaleTypes.join(" or ")}, got ${dtype}`, name);
    }
    if (!scaleBlockOf("I4", this.#shape, byRow)) {
      const groups = scaleBlocks.map(([, inputs]) => inputs).join(" or ");
      const problem = `expected scales of ${outputs} outputs and groups of ${groups} inputs`;
      throw new CheckpointError(file, `${problem}, got [${shape.join(", ")}]`, name);
    }
    return { name, dtype, shape, file, offset };
  }

  #entry(name: string): TensorEntry {
    const entry = this.#find(name);
    if (entry) return entry;
    const codes = this.#find(this.#names.codes)!;
    throw new CheckpointError(codes.file, `INT4 without ${name}`, this.#name);
  }
}
