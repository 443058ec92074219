import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { ManualClock } from "../../cluster/fixtures.ts";
import type { RankHandle } from "../fleet/index.ts";
import type { EngineStats } from "../messages.ts";
import { noStats } from "./engine-stats.ts";
import { RankCounts, STATS_MS } from "./rank-counts.ts";

const counted = (steps: number): EngineStats => ({ ...noStats, steps, running: 1 });

function open() {
  const clock = new ManualClock();
  const silent: number[] = [];
  const counts = new RankCounts(clock, (rank) => silent.push(rank));
  const asked: {
    readonly resolve: (stats: EngineStats) => void;
    readonly reject: (error: Error) => void;
  }[] = [];
  const handle = {
    ask: () => new Promise<EngineStats>((resolve, reject) => asked.push({ resolve, reject })),
  } as unknown as RankHandle;
  return { clock, silent, counts, asked, ask: () => counts.ask(7, handle) };
}

test("of a rank that does not answer in time the last counts are told, and it is asked no more until it has", async () => {
  const { clock, silent, asked, ask } = open();
  const first = ask();
  asked[0].resolve(counted(3));
  assert.deepEqual(await first, counted(3));
  const late = [ask(), ask()];
  clock.advance(STATS_MS);
  assert.deepEqual(await Promise.all(late), [counted(3), counted(3)]);
  assert.deepEqual(await ask(), counted(3));
  assert.deepEqual([silent, asked.length], [[7], 3]);
  asked[2].resolve(counted(5));
  await turn();
  const again = ask();
  asked[3].resolve(counted(6));
  assert.deepEqual(await again, counted(6));
  assert.equal(clock.pending, 0);
});

test("of a rank that ends while it is asked its sums are told, and why it is gone", async () => {
  const { asked, ask, counts } = open();
  const first = ask();
  asked[0].resolve(counted(3));
  await first;
  const last = ask();
  asked[1].reject(new Error("its thread has ended"));
  assert.deepEqual(await last, { ...noStats, steps: 3, lost: "its thread has ended" });
  assert.deepEqual(counts.ofLost(8, "never heard"), { ...noStats, lost: "never heard" });
});
