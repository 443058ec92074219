/** How many units serve: by their load, or by the clock. docs/scaling.md says the rule. */

/** Units of each kind. */
export interface UnitCounts {
  readonly prefill: number;
  readonly decode: number;
}

/** Units that come and go together, so that prompts and answers keep their proportion. */
export interface ScaleRule {
  /** Units that always serve. */
  readonly always: UnitCounts;
  readonly group: UnitCounts;
  readonly leastGroups: number;
  readonly mostGroups: number;
  /** What a unit carries at the load that is aimed at, in any unit: tokens a second. */
  readonly carries: UnitCounts;
  /** Share of that which must be free with fewer groups before groups are given back. */
  readonly slack: number;
  /** Milliseconds for which it must have been free. */
  readonly patienceMs: number;
}

/** What was asked a second, and when: milliseconds. */
export interface Demand extends UnitCounts {
  readonly at: number;
}

export interface ScaleState {
  readonly groups: number;
  /** The demand of the decision before. */
  readonly before?: Demand;
  /** Since when fewer groups would do, and how many at least. */
  readonly free?: { readonly since: number; readonly groups: number };
}

/**
 * The next state for a demand that was measured: groups come at once when what is expected at the next decision
 * exceeds what they carry, and go when it has been so low for long enough that fewer have slack left.
 */
export function scaleFor(demand: Demand, state: ScaleState, rule: ScaleRule): ScaleState {
  const expected = expectedAfter(demand, state.before);
  const needed = groupsFor(expected, rule, 0);
  if (needed >= state.groups) return { groups: needed, before: demand };
  const enough = groupsFor(demand, rule, rule.slack);
  if (enough >= state.groups) return { groups: state.groups, before: demand };
  const since = state.free?.since ?? demand.at;
  const groups = Math.max(enough, needed, state.free?.groups ?? 0);
  if (demand.at - since < rule.patienceMs) {
    return { groups: state.groups, before: demand, free: { since, groups } };
  }
  return { groups: Math.min(groups, state.groups), before: demand };
}

export function unitsOf({ always, group }: ScaleRule, groups: number): UnitCounts {
  return {
    prefill: always.prefill + groups * group.prefill,
    decode: always.decode + groups * group.decode,
  };
}

/** What rises is expected to rise on; what falls may have ended falling. */
function expectedAfter(demand: Demand, before: Demand | undefined): UnitCounts {
  const next = (role: keyof UnitCounts) =>
    demand[role] + Math.max(0, demand[role] - (before?.[role] ?? demand[role]));
  return { prefill: next("prefill"), decode: next("decode") };
}

/** The fewest groups whose units carry a demand and have so much of what they carry free. */
function groupsFor(demand: UnitCounts, rule: ScaleRule, slack: number): number {
  const { carries, leastGroups, mostGroups } = rule;
  for (let groups = leastGroups; groups < mostGroups; groups++) {
    const units = unitsOf(rule, groups);
    const carried = (role: keyof UnitCounts) => units[role] * carries[role] * (1 - slack);
    if (demand.prefill <= carried("prefill") && demand.decode <= carried("decode")) return groups;
  }
  return mostGroups;
}
