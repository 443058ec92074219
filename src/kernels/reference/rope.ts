import { sineAndCosine } from "../elementary.ts";
import type { Rope } from "../stream.ts";

/**
 * Rotates `2 × frequencies` values of x in place by the angles of an absolute position. DeepSeek's
 * checkpoints rotate adjacent pairs; checkpoints with `rope_interleave: false` pair the halves.
 */
export function rotate(x: Float32Array, at: number, position: number, rope: Rope): void {
  const { frequencies, amplitude, interleaved } = rope;
  const half = frequencies.length;
  const turn = { sine: 0, cosine: 0 };
  for (let i = 0; i < half; i++) {
    const angle = Math.fround(position * frequencies[i]);
    sineAndCosine(turn, angle);
    const cos = Math.fround(turn.cosine * amplitude);
    const sin = Math.fround(turn.sine * amplitude);
    const first = interleaved ? at + 2 * i : at + i;
    const second = interleaved ? first + 1 : first + half;
    const x0 = x[first];
    const x1 = x[second];
    x[first] = Math.fround(x0 * cos) - Math.fround(x1 * sin);
    x[second] = Math.fround(x1 * cos) + Math.fround(x0 * sin);
  }
}
