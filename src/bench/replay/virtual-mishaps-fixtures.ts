/** What befalls a virtual cluster. */
import type { ManualClock } from "../../cluster/fixtures.ts";
import { parseTopology, type UnitRole } from "../../cluster/index.ts";
import type { Engine } from "../../engine/api/index.ts";
import type { VirtualLoss, VirtualRanks } from "../../engine/api/virtual-fixtures.ts";
import type { ChaosSchedule, Draw, Mishap, Passing } from "./chaos-schedule.ts";

/** A virtual cluster at work on a schedule. */
export interface World {
  readonly clock: ManualClock;
  readonly engine: Engine;
  readonly ranks: VirtualRanks;
  /** Ranks whose next step throws. */
  readonly faulty: Set<number>;
  /** How long the next word of which tokens may come takes. */
  readonly maskMs: () => number;
  readonly draw: Draw;
}

/** Virtual milliseconds after which silence is noticed. */
const FAILURE_TIMEOUT_MS = 1000;
/** How long two nodes that have lost each other may both be alive. */
const CUT_MS = 300;

export async function strike(world: World, mishap: Mishap): Promise<void> {
  const { clock, ranks, engine, faulty, draw } = world;
  switch (mishap.kind) {
    case "kill":
      ranks.lose(mishap.ranks, { reason: "its node was killed", losesWay: () => draw.chance(0.5) });
      break;
    case "freeze":
      ranks.lose(mishap.ranks, silent);
      break;
    case "cut":
      for (const rank of mishap.ranks) ranks.cut(mishap.from, rank);
      clock.after(CUT_MS, () => ranks.lose(mishap.ranks, { reason: "it was cut off" }));
      break;
    case "fault":
      faulty.add(mishap.rank);
      break;
    case "rebalance":
      await engine.rebalance();
      break;
    default:
      strikeInPassing(world, mishap);
  }
}

const silent: VirtualLoss = { reason: "it is silent", heardAfter: () => FAILURE_TIMEOUT_MS };

function strikeInPassing({ clock, ranks, engine, faulty, draw }: World, mishap: Passing): void {
  if (mishap.kind === "scale") return engine.scale(mishap.wanted);
  if (mishap.kind === "join") return ranks.join();
  if (mishap.kind === "break" || mishap.kind === "trip") {
    const rank = picked(ranks.alive, mishap.pick);
    if (rank === undefined) return;
    if (mishap.kind === "trip") faulty.add(rank);
    else ranks.lose([rank], { reason: "its thread has ended" });
    return;
  }
  const { kind, pick } = mishap;
  // Node 0 serves.
  const node = picked(ranks.nodes.slice(1), pick);
  if (node === undefined) return;
  if (mishap.back !== undefined) clock.after(mishap.back, () => ranks.join());
  if (kind === "nodeSilent") ranks.loseNode(node, silent);
  else if (kind === "nodeKilled") {
    ranks.loseNode(node, { reason: "it was killed", losesWay: () => draw.chance(0.5) });
  } else {
    const other = picked(
      ranks.nodes.filter((each) => each !== node),
      pick,
    );
    for (const from of other === undefined ? [] : ranks.ranksOf(other)) {
      for (const rank of ranks.ranksOf(node)) ranks.cut(from, rank);
    }
    clock.after(CUT_MS, () => ranks.loseNode(node, { reason: "it was cut off" }));
  }
}

const picked = (numbers: readonly number[], pick: number): number | undefined =>
  numbers[pick % numbers.length];

/** Milliseconds after which nothing more befalls a cluster, and nodes come for all that is wanted. */
const PEACE_MS = 5000;
const COMING_NODES = 30;
/** Between two looks at what ranks have counted. */
const LOOK_MS = 20;

/** A cluster that recovers becomes whole in the end. */
export function makePeace({ clock, ranks }: World): void {
  clock.after(PEACE_MS, () => {
    for (let node = 0; node < COMING_NODES; node++) ranks.join();
  });
}

/** Reads what ranks have counted while all befalls them; the returned list fills with what is wrong. */
export function watchCounts({ clock, engine }: World): readonly string[] {
  const problems: string[] = [];
  const generated: number[] = [];
  const look = async (): Promise<void> => {
    for (const [rank, { generatedTokens }] of (await engine.rankStats()).entries()) {
      if (generatedTokens < (generated[rank] ?? 0)) problems.push(`rank ${rank} uncounts tokens`);
      generated[rank] = generatedTokens;
    }
    if (clock.now() < PEACE_MS) clock.after(LOOK_MS, watch);
  };
  const watch = () =>
    void look().catch((error: Error) => problems.push(`no counts: ${error.message}`));
  watch();
  return problems;
}

/** What is not as it is wanted in a cluster that recovers. */
export function problemsOf(
  { ranks, engine }: World,
  { topology, mishaps }: ChaosSchedule,
): readonly string[] {
  const wanted = new Map<UnitRole, { units: number; ranks: number }>();
  for (const { role, ranks: own } of parseTopology(topology).units) {
    wanted.set(role, { units: (wanted.get(role)?.units ?? 0) + 1, ranks: own.length });
  }
  for (const mishap of mishaps) {
    if (mishap.kind !== "scale") continue;
    for (const [role, units] of Object.entries(mishap.wanted)) {
      (wanted.get(role as UnitRole) as { units: number }).units = units;
    }
  }
  const due = [...wanted].flatMap(([role, { units, ranks: size }]) =>
    Array<string>(units).fill(`${role} serving with ${size}`),
  );
  const there = engine.units.map(
    ({ role, state, ranks: own }) => `${role} ${state} with ${own.length}`,
  );
  const seats = engine.units.flatMap((unit) => unit.ranks).length;
  return [
    ...(there.join() === due.join() ? [] : [`there are ${there.join()}, wanted ${due.join()}`]),
    ...(seats === ranks.alive.length ? [] : [`${ranks.alive.length} ranks compute, not ${seats}`]),
  ];
}
