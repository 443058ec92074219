import type { ExpertLoads } from "../../engine/index.ts";

/**
 * Experts of a layer, on average over layers, that any of so many rows chooses: what a step has to read.
 * Rows are taken to choose by themselves, each expert as often as it was counted.
 */
export function expertsTouched(loads: ExpertLoads, topK: number, rows: number): number {
  const layers = loads.map((layer) => {
    const all = sum(layer);
    if (all === 0) return 0;
    return sum(layer.map((load) => 1 - (1 - Math.min(1, (topK * load) / all)) ** rows));
  });
  return layers.length === 0 ? 0 : sum(layers) / layers.length;
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
