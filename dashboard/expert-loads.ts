import { maxOverMean } from "../src/balancing/balance.ts";
import type {
  ExpertLayer,
  StatusSnapshot,
  UnitStatus,
} from "../src/gateway/status/status-snapshot.ts";

/** A physical expert and its share of what chose its logical one. */
export interface PlacedExpert {
  readonly logical: number;
  readonly replicas: number;
  /** Choices; replicas are taken to share them evenly. */
  readonly load: number;
}

/** Snapshots that a moment of expert load spans. */
const WINDOW = 10;

/** How often each logical expert was chosen lately, or since the start if none was. */
export function recentChoices(
  history: readonly StatusSnapshot[],
  layerOf: (status: StatusSnapshot) => ExpertLayer | undefined,
): { choices: readonly number[]; recent: boolean } {
  const now = history.at(-1);
  const choices = (now && layerOf(now)?.choices) ?? [];
  const then = history.at(-1 - WINDOW) ?? history[0];
  const before = layerOf(then)?.choices ?? [];
  const changed = choices.map((value, expert) => value - (before[expert] ?? 0));
  // A server that was started anew counts from 0 again.
  const recent = changed.some((value) => value > 0) && changed.every((value) => value >= 0);
  return { choices: recent ? changed : choices, recent };
}

/** The physical experts of each rank of a unit, in one layer. */
export function expertsByRank(
  { ranks }: UnitStatus,
  { physicalToLogical }: ExpertLayer,
  choices: readonly number[],
): PlacedExpert[][] {
  const replicas = new Map<number, number>();
  for (const logical of physicalToLogical) replicas.set(logical, (replicas.get(logical) ?? 0) + 1);
  const placed = physicalToLogical.map((logical) => {
    const copies = replicas.get(logical) ?? 1;
    return { logical, replicas: copies, load: (choices[logical] ?? 0) / copies };
  });
  const slots = placed.length / ranks.length;
  return ranks.map((_, index) => placed.slice(index * slots, (index + 1) * slots));
}

/** Load of the fullest rank over the mean: 1 is balance. */
export function imbalance(ranks: readonly (readonly PlacedExpert[])[]): number {
  return maxOverMean(ranks.map((experts) => experts.reduce((sum, { load }) => sum + load, 0)));
}
