import { sineAndCosine } from "../elementary.ts";
import { float32 } from "../float-formats.ts";
import type { Rope } from "../stream.ts";

/**
 * Rotates `2 × frequencies` values of x in place by the angles of an absolute position. DeepSeek's
 * checkpoints rotate adjacent pairs; checkpoints with `rope_interleave: false` pair the halves.
 */
export function rotate(x: Float32Array, at: number, position: number, rope: Rope): void {
  const { frequencies, interleaved } = rope;
  const amplitude = Math.fround(rope.amplitude);
  const half = frequencies.length;
  const turn = { sine: 0, cosine: 0 };
  for (let i = 0; i < half; i++) {
    const angle = float32(position * frequencies[i]);
    sineAndCosine(turn, angle);
    const cos = float32(turn.cosine * amplitude);
    const sin = float32(turn.sine * amplitude);
    const first = interleaved ? at + 2 * i : at + i;
    const second = interleaved ? first + 1 : first + half;
    const x0 = float32(x[first]);
    const x1 = float32(x[second]);
    x[first] = float32(float32(x0 * cos) - float32(x1 * sin));
    x[second] = float32(float32(x1 * cos) + float32(x0 * sin));
  }
}
