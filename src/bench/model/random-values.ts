import { gaussian, randomSource, toBf16, toE4m3 } from "../../kernels/index.ts";

/** Random values that all tensors are cut from. */
const TABLE_VALUES = 2 ** 20;
const PIECE = 2 ** 16;
/** Spread of the FP8 codes' values, far from both ends of their range. */
export const CODE_SPREAD = 32;

/** Normal values, drawn once; tensors are pieces of them from random places. */
export class RandomValues {
  readonly codes = new Uint8Array(TABLE_VALUES);
  /** BF16, of a tenth of the spread 1. */
  readonly halves = new Uint16Array(TABLE_VALUES);
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = randomSource(seed);
    for (const [i, value] of gaussian(this.#next, TABLE_VALUES).entries()) {
      this.codes[i] = toE4m3(CODE_SPREAD * value);
      this.halves[i] = toBf16(0.1 * value);
    }
  }

  write<Values extends Uint8Array | Uint16Array>(out: Values, table: Values): void {
    for (let at = 0; at < out.length; at += PIECE) {
      const count = Math.min(PIECE, out.length - at);
      const from = Math.floor(this.#next() * (TABLE_VALUES - count));
      out.set(table.subarray(from, from + count), at);
    }
  }
}
