import { descendingOrder } from "./torch-arithmetic.ts";

/** Where each item went: its pack, and how many items the pack held before it. */
export interface Packing {
  /** [items] */
  readonly pack: Int32Array;
  /** [items] */
  readonly position: Int32Array;
}

/**
 * EPLB's balanced packing: items, heaviest first, each to the lightest pack with room, the first of
 * equals; all packs end with the same number of items. Weights are added in float32, as torch does.
 * One item a pack needs no choice, and none is made.
 */
export function packEvenly(weights: Float32Array, packs: number): Packing {
  const capacity = weights.length / packs;
  if (capacity === 1) {
    return { pack: new Int32Array(packs).map((_, i) => i), position: new Int32Array(packs) };
  }
  const pack = new Int32Array(weights.length);
  const position = new Int32Array(weights.length);
  const packWeights = new Float32Array(packs);
  const packItems = new Int32Array(packs);
  for (const item of descendingOrder(weights)) {
    let lightest = -1;
    for (let i = 0; i < packs; i++) {
      if (packItems[i] === capacity) continue;
      if (lightest < 0 || packWeights[i] < packWeights[lightest]) lightest = i;
    }
    pack[item] = lightest;
    position[item] = packItems[lightest]++;
    packWeights[lightest] += weights[item];
  }
  return { pack, position };
}
