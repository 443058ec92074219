import { exponential32 } from "../elementary.ts";
import { float32 } from "../float-formats.ts";
import { LANES, sumOfLanes } from "../lanes.ts";

const squares = new Float32Array(LANES);

/** out = gain ⊙ x / sqrt(mean(x²) + epsilon), for one row of gain's width. */
export function rmsNormRow(
  out: Float32Array,
  outAt: number,
  x: Float32Array,
  at: number,
  gain: Float32Array,
  epsilon: number,
): void {
  squares.fill(0);
  for (let i = 0; i < gain.length; i++) {
    const value = float32(x[at + i]);
    squares[i % LANES] = float32(squares[i % LANES] + float32(value * value));
  }
  const mean = float32(sumOfLanes(squares) / gain.length);
  const inverse = float32(1 / float32(Math.sqrt(float32(mean + Math.fround(epsilon)))));
  for (let i = 0; i < gain.length; i++) {
    out[outAt + i] = float32(float32(gain[i]) * float32(float32(x[at + i]) * inverse));
  }
}

/** out = silu(gate) ⊙ up, over `count` values. */
export function siluMultiply(
  out: Float32Array,
  gate: Float32Array,
  up: Float32Array,
  count: number,
): void {
  for (let i = 0; i < count; i++) {
    const value = float32(gate[i]);
    const silu = float32(value / float32(1 + exponential32(-value)));
    out[i] = float32(silu * float32(up[i]));
  }
}
