import { usableCores } from "../cores.ts";
import { codesShape } from "../int4-packing.ts";
import { loadNative, type AddonWeightFiles, type NativeAddon } from "../native-addon.ts";
import { codeBytes } from "../weight-format.ts";
import type { Weight } from "../weight.ts";
import { MappedWeights, stripShape } from "./mapped-weights.ts";

/** Raised by every change to what native/host/strips.h says, which strips.test.ts notices. */
export const STRIP_LAYOUT = 1;

/** Weight rows of a strip. */
const STRIP_ROWS = 16;

/** Copies weights into strips, as native/host/strips.h has them. */
export class StripPacker {
  readonly #addon: NativeAddon;
  readonly #files: AddonWeightFiles;
  /** Written in turns, so that one can be used while the next is made. */
  readonly #memory: [Uint8Array, Uint8Array] = [new Uint8Array(0), new Uint8Array(0)];
  #turn = 0;

  /** @throws Error where there are no native kernels */
  constructor() {
    const { addon, problem } = loadNative();
    if (!addon) throw new Error(problem);
    this.#addon = addon;
    this.#files = new addon.WeightFiles({ resident: false, threads: 1 });
  }

  /** Bytes of all strips of a linear weight, whole cache lines. */
  bytesOf(weight: Weight): number {
    return this.#addon.stripBytes(stripShape(weight));
  }

  /**
   * Strips of a weight one after the other, in pieces of about `most` bytes, each valid until the one
   * after the next. What was read of the weight is no longer this process's memory afterwards.
   *
   * @throws WeightError, or Error naming the file, where the weight cannot be read
   */
  *pieces(weight: Weight, most: number): Generator<Uint8Array> {
    // Owns scales that are decoded for the strips.
    const mapped = new MappedWeights(this.#addon, this.#files);
    const source = mapped.stripSource(weight);
    const bytes = this.#addon.stripBytes(source);
    const strips = Math.ceil(source.rows / STRIP_ROWS);
    const atOnce = Math.max(1, Math.floor((most / bytes) * strips));
    for (let first = 0; first < strips; first += atOnce) {
      const out = this.#take((Math.min(atOnce, strips - first) * bytes) / strips);
      this.#addon.packStrips(out, source, first, usableCores());
      yield out;
    }
    for (const part of partsOf(weight)) mapped.files.release(part.file, part.offset, part.bytes);
  }

  /** Has the system read what a weight's strips are made of. */
  readAhead(weight: Weight): void {
    for (const { file, offset, bytes } of partsOf(weight)) {
      this.#files.readAhead(file, offset, bytes);
    }
  }

  #take(bytes: number): Uint8Array {
    this.#turn = 1 - this.#turn;
    if (this.#memory[this.#turn].length < bytes) this.#memory[this.#turn] = new Uint8Array(bytes);
    return this.#memory[this.#turn].subarray(0, bytes);
  }
}

/** Where a weight's codes and scales lie. */
function partsOf(weight: Weight) {
  const { file, offset, dtype, shape, scale, packing } = weight;
  const codes = codeBytes(dtype, packing ? codesShape(packing, shape) : shape);
  const own = { file, offset, bytes: codes };
  return scale ? [own, { ...scale, bytes: codeBytes(scale.dtype, scale.shape) }] : [own];
}
