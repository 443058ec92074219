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

/** Physical experts that lie together: of a rank, or those that every rank has. */
export interface ExpertGroup {
  readonly name: string;
  readonly experts: readonly PlacedExpert[];
}

/** How often each logical expert of a layer was chosen lately, or since the start if none was. */
export function recentChoices(
  recent: readonly StatusSnapshot[],
  unit: number,
  layer: number,
): { choices: readonly number[]; recent: boolean } {
  const choicesOf = (status: StatusSnapshot | undefined) =>
    status?.units[unit]?.experts[layer]?.choices ?? [];
  const choices = choicesOf(recent.at(-1));
  const before = choicesOf(recent[0]);
  const changed = choices.map((value, expert) => value - (before[expert] ?? 0));
  // A server that was started anew counts from 0 again.
  const isRecent = changed.some((value) => value > 0) && changed.every((value) => value >= 0);
  return { choices: isRecent ? changed : choices, recent: isRecent };
}

/** The physical experts of a unit's layer, by the rank that has them. */
export function expertGroups(
  { ranks, sharesExperts }: UnitStatus,
  { physicalToLogical }: ExpertLayer,
  choices: readonly number[],
): ExpertGroup[] {
  const replicas = new Map<number, number>();
  for (const logical of physicalToLogical) replicas.set(logical, (replicas.get(logical) ?? 0) + 1);
  const placed = physicalToLogical.map((logical) => {
    const copies = replicas.get(logical) ?? 1;
    return { logical, replicas: copies, load: (choices[logical] ?? 0) / copies };
  });
  if (!sharesExperts) {
    const name = ranks.length === 1 ? `rank ${ranks[0].rank}` : `each of ${ranks.length} ranks`;
    return [{ name, experts: placed }];
  }
  const slots = placed.length / ranks.length;
  return ranks.map(({ rank }, index) => ({
    name: `rank ${rank}`,
    experts: placed.slice(index * slots, (index + 1) * slots),
  }));
}

/** Load of the fullest rank over the mean: 1 is balance. */
export function imbalance(groups: readonly ExpertGroup[]): number {
  return maxOverMean(groups.map(({ experts }) => loadOf(experts)));
}

export const loadOf = (experts: readonly PlacedExpert[]): number =>
  experts.reduce((sum, { load }) => sum + load, 0);

/** The same of a whole unit, the mean over its layers; undefined where nothing is shared or chosen lately. */
export function unitImbalance(recent: readonly StatusSnapshot[], unit: number): number | undefined {
  const now = recent.at(-1)?.units[unit];
  if (!now?.sharesExperts) return undefined;
  const layers = now.experts.flatMap((layer, index) => {
    const { choices, recent: isRecent } = recentChoices(recent, unit, index);
    return isRecent ? [imbalance(expertGroups(now, layer, choices))] : [];
  });
  if (layers.length === 0) return undefined;
  return layers.reduce((sum, each) => sum + each, 0) / layers.length;
}
