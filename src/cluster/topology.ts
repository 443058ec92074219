/** What a unit computes: prompts, generated tokens, or both. */
export type UnitRole = "prefill" | "decode" | "combined";

/** A deployment unit: its ranks share the experts between them and step together. */
export interface Unit {
  readonly role: UnitRole;
  /** Numbers of its ranks in the cluster, ascending and without gaps. */
  readonly ranks: readonly number[];
}

export interface Topology {
  /** Units of one role have the same number of ranks and stand together. */
  readonly units: readonly Unit[];
  /** Number of all ranks; they are numbered from 0 in the order of the units. */
  readonly ranks: number;
}

/** DeepSeek's largest unit has 144 ranks. */
const MAXIMUM_RANKS = 65_536;

/**
 * Reads `role=unitsxranks` pairs: `prefill=1x2,decode=1x2`, or `combined=1x4`.
 * @throws RangeError naming the flag and what is wrong.
 */
export function parseTopology(text: string, flag = "--topology"): Topology {
  const units: Unit[] = [];
  let ranks = 0;
  for (const part of text.split(",")) {
    const { role, count, size } = parsePart(part, flag);
    if (units.some((unit) => unit.role === role)) {
      throw new RangeError(`${flag}: ${role} is given twice in "${text}"`);
    }
    if (ranks + count * size > MAXIMUM_RANKS) {
      throw new RangeError(`${flag}: expected at most ${MAXIMUM_RANKS} ranks in "${text}"`);
    }
    for (let unit = 0; unit < count; unit++) {
      units.push({ role, ranks: range(ranks, size) });
      ranks += size;
    }
  }
  checkRoles(new Set(units.map(({ role }) => role)), text, flag);
  return { units, ranks };
}

/** The text that parses to the topology. */
export function formatTopology({ units }: Topology): string {
  const parts = new Map<UnitRole, { count: number; size: number }>();
  for (const { role, ranks } of units) {
    parts.set(role, { count: (parts.get(role)?.count ?? 0) + 1, size: ranks.length });
  }
  return [...parts].map(([role, { count, size }]) => `${role}=${count}x${size}`).join(",");
}

/**
 * The node of each rank. By default every unit is spread over all nodes, so that a node's one copy of
 * the model serves both phases; nodes differ by at most one rank, within a unit and in all. With a
 * number of nodes for each unit, as DeepSeek deploys them, each unit has nodes of its own.
 * @throws RangeError if a node would have no rank.
 */
export function assignRanks(topology: Topology, nodes: number | readonly number[]): number[] {
  if (typeof nodes === "number") return spread(topology.units, topology.ranks, nodes);
  if (nodes.length !== topology.units.length) {
    const problem = `expected one number or one for each unit (${topology.units.length})`;
    throw new RangeError(`nodes: ${problem}, got ${nodes.join("+")}`);
  }
  let before = 0;
  return topology.units.flatMap((unit, index) => {
    const own = spread([unit], unit.ranks.length, nodes[index]).map((node) => before + node);
    before += nodes[index];
    return own;
  });
}

function spread(units: readonly Unit[], ranks: number, nodes: number): number[] {
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > ranks) {
    throw new RangeError(`nodes: expected at most one for each rank (${ranks}), got ${nodes}`);
  }
  const load = Array.from({ length: nodes }, () => 0);
  return units.flatMap((unit) => spreadRanks(unit.ranks.length, load));
}

/**
 * The node of each rank of one more unit, which is spread over all nodes.
 * @param load ranks on each node so far; those of the unit are added
 */
export function spreadRanks(ranks: number, load: number[]): number[] {
  const nodes = load.length;
  const share = Math.floor(ranks / nodes);
  const leastLoaded = range(0, nodes).sort((a, b) => load[a] - load[b] || a - b);
  const withOneMore = new Set(leastLoaded.slice(0, ranks % nodes));
  return range(0, nodes).flatMap((node) => {
    const own = share + (withOneMore.has(node) ? 1 : 0);
    load[node] += own;
    return Array.from({ length: own }, () => node);
  });
}

function parsePart(part: string, flag: string): { role: UnitRole; count: number; size: number } {
  const match = /^(\w+)=(\d{1,5})x(\d{1,5})$/.exec(part.trim());
  const [, role, count, size] = match ?? [];
  if (!match) {
    throw new RangeError(`${flag}: expected role=UNITSxRANKS as in decode=1x2, got "${part}"`);
  }
  if (role !== "prefill" && role !== "decode" && role !== "combined") {
    throw new RangeError(`${flag}: expected prefill, decode or combined, got "${role}"`);
  }
  if (Number(count) < 1 || Number(size) < 1) {
    throw new RangeError(`${flag}: expected at least one unit and one rank, got "${part}"`);
  }
  return { role, count: Number(count), size: Number(size) };
}

function checkRoles(roles: ReadonlySet<UnitRole>, text: string, flag: string): void {
  if (roles.has("combined") ? roles.size === 1 : roles.size === 2) return;
  throw new RangeError(
    `${flag}: expected both prefill and decode, or combined alone, got "${text}"`,
  );
}

const range = (start: number, length: number) => Array.from({ length }, (_, at) => start + at);

export const defaultTopology = parseTopology("combined=1x1");
