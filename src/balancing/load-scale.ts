import { expectedAfter, scaleFor, type Demand, type ScaleState, type UnitCounts } from "./scale.ts";

export type UnitKind = keyof UnitCounts | "combined";

/** Units that come and go with what is asked, each kind for itself. */
export interface LoadPolicy {
  /** Tokens a second that a unit is aimed at: of prompts, cached ones too, and of answers. */
  readonly carries: UnitCounts;
  /** Units of each kind, at least 1. */
  readonly least: number;
  readonly most: number;
  /** Milliseconds between two decisions. */
  readonly everyMs: number;
  /** As `ScaleRule` has them. */
  readonly slack: number;
  readonly patienceMs: number;
}

/** What there is of a kind of unit. */
export interface SeenUnits {
  readonly kind: UnitKind;
  readonly wanted: number;
  readonly serving: number;
  /** Of each unit. */
  readonly ranks: number;
}

export interface SeenLoad {
  /** Milliseconds. */
  readonly at: number;
  /** Since the start: `prefill` those of prompts that were asked, `decode` those of answers. */
  readonly tokens: UnitCounts;
  readonly units: readonly SeenUnits[];
  /** Ranks that nodes have room for beside those that there are. */
  readonly room: number;
  /** Why units that are wanted do not start. */
  readonly problem: string | undefined;
}

export interface UnitChange {
  readonly kind: UnitKind;
  readonly from: number;
  readonly to: number;
  /** In what a unit is aimed at: what was asked, and what was expected then. */
  readonly asked: number;
  readonly expected: number;
  /** Why those that were wanted are given up. */
  readonly problem?: string;
}

type KindState = ScaleState<"unit"> & {
  /** No more are started before: those that were did not. */
  readonly stuckUntil?: number;
};

export interface LoadState {
  readonly seen?: SeenLoad;
  readonly kinds: Readonly<Partial<Record<UnitKind, KindState>>>;
}

export interface LoadDecision {
  readonly state: LoadState;
  readonly changes: readonly UnitChange[];
  /** Kinds of which more units are needed than there may be, or there is room for. */
  readonly short: readonly UnitKind[];
}

/**
 * How many units of each kind are wanted for what was asked since the last decision. A kind of which some are
 * still to start has no more; where those do not start, they are given up for as long as units wait to go.
 */
export function decideUnits(seen: SeenLoad, state: LoadState, policy: LoadPolicy): LoadDecision {
  const { seen: before } = state;
  if (!before) return { state: { ...state, seen }, changes: [], short: [] };
  const seconds = (seen.at - before.at) / 1000;
  if (seconds * 1000 < policy.everyMs) return { state, changes: [], short: [] };
  const kinds: Partial<Record<UnitKind, KindState>> = {};
  const changes: UnitChange[] = [];
  const short: UnitKind[] = [];
  let { room } = seen;
  for (const units of seen.units) {
    const { kind, wanted, ranks } = units;
    const demand: Demand<"unit"> = { unit: worthOf(kind, seen, before, policy), at: seen.at };
    const known = state.kinds[kind] ?? { groups: wanted };
    const next = nextOf(demand, known, units, seen.problem, policy);
    const fits = Math.max(0, Math.floor(room / ranks));
    const to = Math.min(next.groups, Math.max(wanted, Math.min(policy.most, wanted + fits)));
    if (to < next.needed) short.push(kind);
    kinds[kind] = { ...next.state, groups: to };
    if (to === wanted) continue;
    room -= (to - wanted) * ranks;
    const { unit: expected } = expectedAfter(demand, known.before, ["unit"]);
    changes.push({
      ...{ kind, from: wanted, to, asked: demand.unit, expected },
      ...(next.problem !== undefined && { problem: next.problem }),
    });
  }
  return { state: { seen, kinds }, changes, short };
}

/** What was asked of a kind of unit, in what one of them is aimed at. */
function worthOf(kind: UnitKind, now: SeenLoad, before: SeenLoad, { carries }: LoadPolicy): number {
  const seconds = (now.at - before.at) / 1000;
  const worth = (each: keyof UnitCounts) =>
    Math.max(0, now.tokens[each] - before.tokens[each]) / seconds / carries[each];
  return kind === "combined" ? worth("prefill") + worth("decode") : worth(kind);
}

/** One unit more or less at a time is a group, and carries what a unit is aimed at. */
const perUnit = { always: { unit: 0 }, group: { unit: 1 }, carries: { unit: 1 } };

interface Next {
  readonly groups: number;
  /** As many as the load needs, whether they may be started or not. */
  readonly needed: number;
  readonly state: KindState;
  readonly problem?: string;
}

function nextOf(
  demand: Demand<"unit">,
  known: KindState,
  { wanted, serving }: SeenUnits,
  problem: string | undefined,
  { least, most, slack, patienceMs }: LoadPolicy,
): Next {
  const isWhole = serving >= wanted;
  if (!isWhole && problem !== undefined) {
    const groups = Math.max(least, serving);
    const stuckUntil = demand.at + patienceMs;
    return { groups, needed: wanted, state: { groups, before: demand, stuckUntil }, problem };
  }
  // One more than there may be tells that more are needed.
  const mostGroups = Math.max(most, wanted) + 1;
  const rule = { ...perUnit, leastGroups: least, mostGroups, slack, patienceMs };
  const { stuckUntil = -Infinity } = known;
  const state = scaleFor(demand, { ...known, groups: wanted }, rule);
  const needed = state.groups;
  if (demand.at < stuckUntil) {
    return { groups: Math.min(needed, wanted), needed, state: { ...state, stuckUntil } };
  }
  return isWhole
    ? { groups: needed, needed, state }
    : { groups: Math.min(needed, wanted), needed: wanted, state };
}
