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
    const values = this.#values;
    const nibble = (value: number) => rounded(NIBBLE_SPREAD * value, 7) + 8;
    this.codes = filled(new Uint8Array(TABLE_VALUES), (i) => toE4m3(CODE_SPREAD * values[i]));
    this.integers = filled(new Uint8Array(TABLE_VALUES), (i) =>
      rounded(CODE_SPREAD * values[i], 127),
    );
    this.nibbles = filled(
      new Uint8Array(TABLE_VALUES),
      (i) => nibble(values[i]) | (nibble(values[TABLE_VALUES - 1 - i]) << 4),
    );
  }

  /** BF16 values of a spread. */
  halves(spread: number): Uint16Array {
    let halves = this.#halves.get(spread);
    if (!halves) {
      const values = this.#values;
      halves = filled(new Uint16Array(TABLE_VALUES), (i) => toBf16(spread * values[i]));
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

/** `Uint8Array.from` with a function takes ten times as long, and makes garbage. */
function filled<Values extends Uint8Array | Uint16Array>(
  out: Values,
  value: (i: number) => number,
): Values {
  for (let i = 0; i < out.length; i++) out[i] = value(i);
  return out;
}

function rounded(x: number, most: number): number {
  return Math.max(-most, Math.min(most, Math.round(x)));
}
