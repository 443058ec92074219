import { usableCores } from "../cores.ts";
import { loadNative, type NativeAddon } from "../native-addon.ts";
import type { Weight } from "../weight.ts";
import { MappedWeights } from "./mapped-weights.ts";

/** Copies weights into strips, as native/host/strips.h has them. */
export class StripPacker {
  readonly #addon: NativeAddon;
  readonly #weights: MappedWeights;

  /** @throws Error where there are no native kernels */
  constructor() {
    const { addon, problem } = loadNative();
    if (!addon) throw new Error(problem);
    this.#addon = addon;
    this.#weights = new MappedWeights(
      addon,
      new addon.WeightFiles({ resident: false, threads: 1 }),
    );
  }

  /** Bytes of all strips of a linear weight. */
  bytesOf(weight: Weight): number {
    return this.#addon.stripBytes(this.#weights.stripSource(weight));
  }

  /** Strips of a weight one after the other, in pieces of about `most` bytes, which are valid until the next. */
  *pieces(weight: Weight, most: number): Generator<Uint8Array> {
    const source = this.#weights.stripSource(weight);
    const bytes = this.#addon.stripBytes(source);
    const strips = Math.ceil(source.rows / STRIP_ROWS);
    const atOnce = Math.max(1, Math.floor((most / bytes) * strips));
    const piece = new Uint8Array((Math.min(atOnce, strips) * bytes) / strips);
    for (let first = 0; first < strips; first += atOnce) {
      const count = Math.min(atOnce, strips - first);
      const out = piece.subarray(0, (count * bytes) / strips);
      this.#addon.packStrips(out, source, first, usableCores());
      yield out;
    }
  }
}

/** Weight rows of a strip. */
const STRIP_ROWS = 16;
