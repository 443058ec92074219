import {
  loadNative,
  type AddonStripSource,
  type AddonWeightFiles,
  type NativeAddon,
} from "../native-addon.ts";
import type { Weight } from "../weight.ts";
import { MappedWeights, stripShape } from "./mapped-weights.ts";

/** Raised by every change to what native/host/strips.h says, which strips.test.ts notices. */
export const STRIP_LAYOUT = 1;

/** Weight rows of a strip. */
const STRIP_ROWS = 16;
/** As many as Node has threads for files. */
const PIECES_AT_ONCE = 4;

/** Strips of a weight that are made together. */
interface Piece {
  readonly source: AddonStripSource;
  /** Owns scales that are decoded for the strips. */
  readonly mapped: MappedWeights;
  readonly first: number;
  readonly bytes: number;
}

/** Copies weights into strips, as native/host/strips.h has them. */
export class StripPacker {
  readonly #addon: NativeAddon;
  readonly #files: AddonWeightFiles;

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
   * Strips of weights one after the other, in pieces of one weight and of about `most` bytes, each
   * valid until the next. Some are made ahead, on threads of their own.
   *
   * @throws WeightError, or Error naming the file, where a weight cannot be read
   */
  async *pieces(weights: readonly Weight[], most: number): AsyncGenerator<Uint8Array> {
    const made: Promise<Uint8Array>[] = [];
    const memory: Uint8Array[] = [];
    for (const piece of this.#cut(weights, most)) {
      made.push(this.#make(piece, memory.pop()));
      if (made.length < PIECES_AT_ONCE) continue;
      const bytes = await made.shift()!;
      yield bytes;
      memory.push(bytes);
    }
    for (const bytes of made) yield await bytes;
  }

  *#cut(weights: readonly Weight[], most: number): Generator<Piece> {
    for (const weight of weights) {
      const mapped = new MappedWeights(this.#addon, this.#files);
      const source = mapped.stripSource(weight);
      const strips = Math.ceil(source.rows / STRIP_ROWS);
      const stripBytes = this.#addon.stripBytes(source) / strips;
      const atOnce = Math.max(1, Math.floor(most / stripBytes));
      for (let first = 0; first < strips; first += atOnce) {
        const bytes = Math.min(atOnce, strips - first) * stripBytes;
        yield { source, mapped, first, bytes };
      }
    }
  }

  async #make(piece: Piece, memory?: Uint8Array): Promise<Uint8Array> {
    const { source, first, bytes } = piece;
    const isRoomy = memory !== undefined && memory.buffer.byteLength >= bytes;
    const out = isRoomy ? new Uint8Array(memory.buffer, 0, bytes) : new Uint8Array(bytes);
    await this.#addon.packStripsLater(out, source, first);
    return out;
  }
}
