#!/usr/bin/env node
/**
 * `npm run bench:domain-change [-- FOLDER]`: DeepSeek's own dump of expert choices (ESFT), one domain's
 * tokens and then the other's, through a unit that balances itself and one that does not. Prints the
 * receive load of the busiest rank over the mean by window, and the most experts that a step had to read.
 */
import { newExperts, maxOverMean } from "../../balancing/index.ts";
import { parseTopology, systemClock } from "../../cluster/index.ts";
import { ExpertPlacements, type EngineStats } from "../../engine/index.ts";
import { dispatchLayout, layerPlacement } from "../../expert-parallel/index.ts";
import { esft, readEsftRouting } from "./esft-routing.ts";

const RANKS = 16;
const REDUNDANT = 16;
const BATCH_TOKENS = 1024;
/** Each domain's tokens come so often, and a step each takes 100 ms of the unit's clock. */
const PASSES = 40;
const STEP_MS = 100;
const LOOK_MS = 500;

const [folder = "../shared/data/esft-routing"] = process.argv.slice(2);
const { layers, experts, topK } = esft;
const slots = Math.ceil((experts + REDUNDANT) / RANKS);
const inOrder = Array.from({ length: layers }, () =>
  Array.from({ length: RANKS * slots }, (_, place) => place % experts),
);

/** A unit's ranks as one: what it has counted, and how evenly it spreads a step. */
class UnitOfRanks {
  readonly #loads = inOrder.map(() => Array.from({ length: experts }, () => 0));
  #placed = inOrder.map((map) => layerPlacement(map, experts, RANKS));
  steps = 0;

  place(placement: readonly (readonly number[])[]): void {
    this.#placed = placement.map((map) => layerPlacement(map, experts, RANKS));
  }

  /** The busiest rank's pairs over the mean, the mean over layers. */
  step(routing: readonly Int32Array[], from: number): number {
    this.steps++;
    const rows = BATCH_TOKENS / RANKS;
    const balances = routing.map((ids, layer) => {
      const received = Array.from({ length: RANKS }, () => 0);
      for (let rank = 0; rank < RANKS; rank++) {
        const at = (from + rank * rows) * topK;
        const own = ids.subarray(at, at + rows * topK);
        for (const id of own) this.#loads[layer][id]++;
        const { parts } = dispatchLayout(own, rows, topK, this.#placed[layer], rank);
        for (const [to, { pairRows }] of parts.entries()) received[to] += pairRows.length;
      }
      return maxOverMean(received);
    });
    return balances.reduce((sum, balance) => sum + balance, 0) / layers;
  }

  /** [ranks]: the first has counted for all. */
  stats(): EngineStats[] {
    const traffic = {
      rowsTo: [],
      rowsSent: [],
      bytesTo: [],
      expertLoads: this.#loads.map((layer) => [...layer]),
    };
    const none = { ...traffic, expertLoads: [] };
    return Array.from({ length: RANKS }, (_, rank) => ({
      ...{ waiting: 0, running: 0, pages: 0, pagesInUse: 0, pagesCached: 0 },
      ...{ promptTokens: 0, hitTokens: 0, generatedTokens: 0, preemptions: 0 },
      ...{ proposedTokens: 0, acceptedTokens: 0, steps: this.steps },
      traffic: rank === 0 ? traffic : none,
    }));
  }
}

async function run(balancesItself: boolean): Promise<void> {
  const unit = new UnitOfRanks();
  const placements = new ExpertPlacements({
    topology: parseTopology(`decode=1x${RANKS},prefill=1x1`),
    nodeOfRank: Array.from({ length: RANKS + 1 }, () => 0),
    placements: [inOrder, null],
    ...{ groups: 1, expertPolicy: "best", clock: systemClock },
  });
  let now = 0;
  let looked = 0;
  let placed: readonly (readonly number[])[] = inOrder;
  const most = { experts: 0, moves: 0 };
  const idle = { ...unit.stats()[0], traffic: undefined } as unknown as EngineStats;
  const look = () => {
    for (const { placement } of placements.balance([...unit.stats(), idle], now)) {
      const coming = Array.from({ length: RANKS }, () => 0);
      for (const [layer, to] of placement.entries()) {
        const moved = newExperts({ from: placed[layer], to, ranks: RANKS });
        for (const [rank, count] of moved.entries()) coming[rank] += count;
      }
      most.experts = Math.max(most.experts, ...coming);
      most.moves += coming.reduce((sum, count) => sum + count, 0);
      placed = placement;
      unit.place(placement);
    }
  };
  console.log(balancesItself ? "balancing itself" : "experts in order");
  for (const domain of esft.domains) {
    const routing = await readEsftRouting(folder, domain);
    const batches = Math.floor(routing[0].length / topK / BATCH_TOKENS);
    const windows: number[] = [];
    let sum = 0;
    let steps = 0;
    for (let step = 0; step < PASSES * batches; step++) {
      sum += unit.step(routing, (step % batches) * BATCH_TOKENS);
      steps++;
      now += STEP_MS;
      if (balancesItself && now - looked >= LOOK_MS) {
        looked = now;
        look();
      }
      if (steps * STEP_MS === 2000) {
        windows.push(sum / steps);
        [sum, steps] = [0, 0];
      }
    }
    console.log(`  ${domain}: ${windows.map((each) => each.toFixed(3)).join(" ")}`);
  }
  console.log(
    `  experts that came to new ranks: ${most.moves}, at most ${most.experts} to a rank before a step`,
  );
}

await run(false);
await run(true);
