import { float32 } from "./float-formats.ts";

/** Partial sums of a long sum of float32 values: value i is added to sum i mod LANES. */
export const LANES = 16;

/** The lanes added up, in one fixed tree; they are left with its sums. */
export function sumOfLanes(lanes: Float32Array): number {
  for (let half = LANES / 2; half >= 1; half /= 2) {
    for (let i = 0; i < half; i++) lanes[i] = float32(lanes[i] + lanes[i + half]);
  }
  return lanes[0];
}
