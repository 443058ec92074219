import type { ExpertWeights } from "../kernels/index.ts";
import type { SlotRange } from "./row-exchange.ts";

export interface ExpertPart extends SlotRange {
  readonly weights: ExpertWeights;
}

/** By a rank's experts and the number of parts. A kernel keeps what it makes of a list as long as the list. */
const kept = new WeakMap<ExpertWeights, Map<number, readonly ExpertPart[]>>();

/** A rank's experts in so many parts, of about as many experts; the same lists whenever they are asked for. */
export function expertParts(weights: ExpertWeights, count: number): readonly ExpertPart[] {
  const counts = kept.get(weights) ?? new Map<number, readonly ExpertPart[]>();
  kept.set(weights, counts);
  const parts = counts.get(count) ?? cut(weights, count);
  counts.set(count, parts);
  return parts;
}

function cut(weights: ExpertWeights, count: number): ExpertPart[] {
  const slots = weights.gate.length;
  if (count === 1) return [{ first: 0, end: slots, weights }];
  return Array.from({ length: count }, (_, part) => {
    const first = Math.floor((slots * part) / count);
    const end = Math.floor((slots * (part + 1)) / count);
    const of = <Weight>(list: readonly Weight[]) => list.slice(first, end);
    const { gate, up, down } = weights;
    return { first, end, weights: { gate: of(gate), up: of(up), down: of(down) } };
  });
}
