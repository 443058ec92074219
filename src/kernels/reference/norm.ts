import { exponential } from "../elementary.ts";

/** out = gain ⊙ x / sqrt(mean(x²) + epsilon), for one row of gain's width. */
export function rmsNormRow(
  out: Float32Array,
  outAt: number,
  x: Float32Array,
  at: number,
  gain: Float32Array,
  epsilon: number,
): void {
  let squares = 0;
  for (let i = 0; i < gain.length; i++) squares += x[at + i] * x[at + i];
  const inverse = Math.fround(1 / Math.sqrt(squares / gain.length + epsilon));
  for (let i = 0; i < gain.length; i++) {
    out[outAt + i] = gain[i] * Math.fround(x[at + i] * inverse);
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
    out[i] = Math.fround(gate[i] / (1 + exponential(-gate[i]))) * up[i];
  }
}
