/** How many units serve: by their load, or by the clock. docs/scaling.md says the rule. */

/** An amount of each kind of unit. */
export type Amounts<Kind extends string> = Readonly<Record<Kind, number>>;
export type UnitCounts = Amounts<"prefill" | "decode">;

/** Units of a role: more than any fleet has, and few enough to be placed at once. */
export const MOST_UNITS = 1024;

/** Units that come and go together, so that prompts and answers keep their proportion. */
export interface ScaleRule<Kind extends string = keyof UnitCounts> {
  /** Units that always serve. */
  readonly always: Amounts<Kind>;
  readonly group: Amounts<Kind>;
  readonly leastGroups: number;
  readonly mostGroups: number;
  /** What a unit carries at the load that is aimed at, in any measure: tokens a second. */
  readonly carries: Amounts<Kind>;
  /** Share of that which must be free with fewer groups before groups are given back. */
  readonly slack: number;
  /** Milliseconds for which it must have been free. */
  readonly patienceMs: number;
}

/** What was asked a second, and when: milliseconds. */
export type Demand<Kind extends string = keyof UnitCounts> = Amounts<Kind> & {
  readonly at: number;
};

export interface ScaleState<Kind extends string = keyof UnitCounts> {
  readonly groups: number;
  /** The demand of the decision before. */
  readonly before?: Demand<Kind>;
  /** Since when fewer groups would do, and how many at least. */
  readonly free?: { readonly since: number; readonly groups: number };
}

/**
 * The next state for a demand that was measured: groups come at once when what is expected at the next decision
 * exceeds what they carry, and go when it has been so low for long enough that fewer have slack left.
 */
export function scaleFor<Kind extends string>(
  demand: Demand<Kind>,
  state: ScaleState<Kind>,
  rule: ScaleRule<Kind>,
): ScaleState<Kind> {
  const expected = expectedAfter(demand, state.before, kindsOf(rule.group));
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

/** What serves with so many groups. */
export function unitsOf<Kind extends string>(
  { always, group }: ScaleRule<Kind>,
  groups: number,
): Amounts<Kind> {
  return amounts(kindsOf(group), (kind) => always[kind] + groups * group[kind]);
}

/** What rises is expected to rise on; what falls may have ended falling. */
export function expectedAfter<Kind extends string>(
  demand: Amounts<Kind>,
  before: Amounts<Kind> | undefined,
  kinds: readonly Kind[],
): Amounts<Kind> {
  return amounts(kinds, (kind) => {
    const rise = before ? demand[kind] - before[kind] : 0;
    return demand[kind] + Math.max(0, rise);
  });
}

/** The fewest groups whose units carry a demand and have so much of what they carry free. */
function groupsFor<Kind extends string>(
  demand: Amounts<Kind>,
  rule: ScaleRule<Kind>,
  slack: number,
): number {
  const { carries, leastGroups, mostGroups } = rule;
  for (let groups = leastGroups; groups < mostGroups; groups++) {
    const units = unitsOf(rule, groups);
    const carried = (kind: Kind) => units[kind] * carries[kind] * (1 - slack);
    if (kindsOf(carries).every((kind) => demand[kind] <= carried(kind))) return groups;
  }
  return mostGroups;
}

const kindsOf = <Kind extends string>(each: Amounts<Kind>) => Object.keys(each) as Kind[];

const amounts = <Kind extends string>(kinds: readonly Kind[], of: (kind: Kind) => number) =>
  Object.fromEntries(kinds.map((kind) => [kind, of(kind)])) as Amounts<Kind>;
