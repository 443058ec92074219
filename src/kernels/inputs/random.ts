import { logarithm, sineAndCosine } from "../elementary.ts";

/** A deterministic source of numbers in [0, 1): mulberry32. */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Standard normal values, with the same bits everywhere. */
export function gaussian(random: () => number, count: number, spread = 1): Float32Array {
  const turn = { sine: 0, cosine: 0 };
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const radius = Math.sqrt(-2 * logarithm(1 - random()));
    sineAndCosine(turn, 2 * Math.PI * random());
    values[i] = spread * radius * turn.cosine;
  }
  return values;
}
