import { gaussian, randomSource, toBf16, toE4m3 } from "../../kernels/index.ts";

/** Random values that all tensors are cut from. */
const TABLE_VALUES = 2 ** 20;
const PIECE = 2 ** 16;
/** Spread of the codes' values, far from both ends of their range. */
export const CODE_SPREAD = 32;

/** Spread of INT4's. */
export const NIBBLE_SPREAD = 2.5;

/** Normal values, drawn once; tensors are pieces of them from random places. */
export class RandomValues {
  readonly #next: () => number;
  readonly #values: Float32Array;
  /** FP8 codes. */
  readonly codes: Uint8Array;
  readonly integers: Uint8Array;
  /** Two INT4 codes a byte. */
  readonly nibbles: Uint8Array;
  readonly #halves = new Map<number, Uint16Array>();

  constructor(seed: number) {
    this.#next = randomSource(seed);
    this.#values = gaussian(this.#next, TABLE_VALUES);
    this.codes = Uint8Array.from(this.#values, (value) => toE4m3(CODE_SPREAD * value));
    this.integers = Uint8Array.from(this.#values, (value) => rounded(CODE_SPREAD * value, 127));
    this.nibbles = Uint8Array.from(this.#values, (value, i) => {
      const other = this.#values[TABLE_VALUES - 1 - i];
      const [low, high] = [value, other].map((each) => rounded(NIBBLE_SPREAD * each, 7) + 8);
      return low | (high << 4);
    });
  }

  /** BF16 values of a spread. */
  halves(spread: number): Uint16Array {
    let halves = this.#halves.get(spread);
    if (!halves) {
      halves = Uint16Array.from(this.#values, (value) => toBf16(spread * value));
      this.#halves.set(spread, halves);
    }
    return halves;
  }

  write<Values extends Uint8Array | Uint16Array>(out: Values, table: Values): void {
    for (let at = 0; at < out.length; at += PIECE) {
      const count = Math.min(PIECE, out.length - at);
      const from = Math.floor(this.#next() * (TABLE_VALUES - count));
      out.set(table.subarray(from, from + count), at);
    }
  }
}

function rounded(x: number, most: number): number {
  return Math.max(-most, Math.min(most, Math.round(x)));
}
