/**
 * Placement by search: EPLB's greedy start, without two replicas of an expert on one rank, then
 * exchanges of experts and replicas that take load off the busiest rank while there is one. Where
 * experts lie already, it begins there, and moves everything only if that is worth it.
 */
import { expertsByNode, placeByEplb, type ExpertTopology } from "./eplb.ts";
import { ExpertPacks } from "./expert-packs.ts";

/** How much more than in a new placement the busiest rank may have where fewer experts move for it. */
const WORTH_KEEPING = 1.005;

/**
 * One layer's placement.
 * @param loads [experts]
 * @param current [slots], where the layer's experts lie now
 * @returns [slots] the logical expert in each
 */
export function placeBest(
  loads: Float32Array,
  topology: ExpertTopology,
  current?: readonly number[],
): number[] {
  const fresh = placeAnew(loads, topology);
  if (!current) return fresh.flat();
  const old = ranksOf(current, topology.ranks);
  const enough = WORTH_KEEPING * busiest(loads, fresh);
  const kept = improve(loads, topology, old, enough);
  const isEnough = kept && busiest(loads, kept) <= enough;
  const placed = isEnough ? kept : alike(fresh, old, topology.nodes);
  return placed.flatMap((experts, rank) => inTheirSlots(experts, old[rank]));
}

/** [ranks][slots] */
type Packs = number[][];

/** The better of two starts: without an expert twice on a rank where that costs no more. */
function placeAnew(loads: Float32Array, topology: ExpertTopology): Packs {
  const searched = searchAnew(loads, topology);
  const eplb = ranksOf(placeByEplb(loads, topology).physicalToLogical, topology.ranks);
  const other = improve(loads, topology, eplb, 0) ?? eplb;
  const isWorse = busiest(loads, searched) > WORTH_KEEPING * busiest(loads, other);
  return isWorse ? other : searched;
}

function searchAnew(loads: Float32Array, topology: ExpertTopology): Packs {
  const { replicas, nodes, ranks } = topology;
  return expertsByNode(loads, topology).flatMap((experts) => {
    const packs = new ExpertPacks(loads, ranks / nodes, replicas / ranks);
    packs.fill(experts);
    packs.improve();
    return packs.experts;
  });
}

/** What lies there, improved inside each node until it is enough; undefined where it cannot stay. */
function improve(
  loads: Float32Array,
  { groups, nodes, ranks, replicas }: ExpertTopology,
  old: Packs,
  enough: number,
): Packs | undefined {
  const perNode = ranks / nodes;
  const nodeOfGroup = new Map<number, number>();
  for (const [rank, experts] of old.entries()) {
    if (new Set(experts).size < experts.length) return undefined;
    for (const expert of experts) {
      const group = Math.floor((expert * groups) / loads.length);
      const node = Math.floor(rank / perNode);
      if ((nodeOfGroup.get(group) ?? node) !== node) return undefined;
      nodeOfGroup.set(group, node);
    }
  }
  return Array.from({ length: nodes }, (_, node) => {
    const packs = new ExpertPacks(loads, perNode, replicas / ranks);
    packs.place(old.slice(node * perNode, (node + 1) * perNode));
    packs.improve(enough);
    return packs.experts;
  }).flat();
}

/** Load of the busiest rank, replicas sharing evenly. */
function busiest(loads: Float32Array, packs: Packs): number {
  const counts = new Map<number, number>();
  for (const expert of packs.flat()) counts.set(expert, (counts.get(expert) ?? 0) + 1);
  const shareOf = (expert: number) => loads[expert] / (counts.get(expert) ?? 1);
  return Math.max(...packs.map((pack) => pack.reduce((sum, each) => sum + shareOf(each), 0)));
}

/** The same packs on the nodes, and in them on the ranks, that have most of their experts already. */
function alike(packs: Packs, old: Packs, nodes: number): Packs {
  const perNode = packs.length / nodes;
  const byNode = (all: Packs) =>
    Array.from({ length: nodes }, (_, node) => all.slice(node * perNode, (node + 1) * perNode));
  const [newNodes, oldNodes] = [byNode(packs), byNode(old)];
  const matched = match(newNodes, oldNodes, (node) => node.flat());
  return matched.flatMap((ranks, node) => match(ranks, oldNodes[node], (experts) => experts));
}

/** Items in the order of the old ones with which they share most experts, most shared first. */
function match<Item>(
  items: readonly Item[],
  old: readonly Item[],
  expertsOf: (item: Item) => readonly number[],
): Item[] {
  const held = old.map((each) => new Set(expertsOf(each)));
  const pairs = items.flatMap((item) =>
    held.map((experts, place) => ({
      ...{ item, place },
      shared: expertsOf(item).filter((expert) => experts.has(expert)).length,
    })),
  );
  pairs.sort((a, b) => b.shared - a.shared);
  const placed = new Map<number, Item>();
  const done = new Set<Item>();
  for (const { item, place } of pairs) {
    if (placed.has(place) || done.has(item)) continue;
    placed.set(place, item);
    done.add(item);
  }
  return old.map((_, place) => placed.get(place) as Item);
}

/** A rank's experts, those that stay in the slots where they lie. */
function inTheirSlots(experts: readonly number[], old: readonly number[]): number[] {
  const left = [...experts];
  const take = (at: number) => left.splice(at, 1)[0];
  const staying = old.map((expert) => {
    const at = left.indexOf(expert);
    return at < 0 ? undefined : take(at);
  });
  return staying.map((expert) => expert ?? take(0));
}

function ranksOf(map: readonly number[], ranks: number): Packs {
  const slots = map.length / ranks;
  return Array.from({ length: ranks }, (_, rank) => map.slice(rank * slots, (rank + 1) * slots));
}
