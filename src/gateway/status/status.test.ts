import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTopology } from "../../cluster/index.ts";
import type { EngineStats, Journey } from "../../engine/index.ts";
import { Latencies } from "./latencies.ts";
import { statusSnapshot } from "./status-snapshot.ts";
import { Status } from "./status.ts";

const idle: EngineStats = {
  ...{ waiting: 0, running: 0, pages: 10, pagesInUse: 0, pagesCached: 0, steps: 0 },
  ...{ promptTokens: 0, hitTokens: 0, generatedTokens: 0, preemptions: 0 },
  ...{ proposedTokens: 0, acceptedTokens: 0 },
};

/** Two ranks that share four experts, the last of them twice, on a clock that is set by hand. */
function twoRanks() {
  const world = {
    now: 1_740_657_600_000,
    tokens: { hit: 0, miss: 0, output: 0 },
    latencies: new Latencies(),
    journeys: [] as Journey[],
    ranks: [idle, idle] as EngineStats[] | undefined,
  };
  const status = new Status({
    cluster: {
      topology: parseTopology("combined=1x2"),
      nodeOfRank: [0, 0],
      units: () => [{ unit: 3, role: "combined", state: "serving" }],
      scaling: { wanted: {}, changes: [], countsOf: () => ({ up: 0, down: 0 }) },
      problems: () => [],
      scale: () => undefined,
      rebalance: async () => [],
      placements: () => [
        {
          shared: true,
          layers: [{ layer: 1, physicalToLogical: [0, 1, 3, 2, 3, 0], experts: 4 }],
        },
      ],
      journeysSince: (time) => world.journeys.filter(({ ended = time }) => ended >= time),
      rankStats: async () => {
        if (!world.ranks) throw new Error("the engine ended");
        return world.ranks;
      },
    },
    load: { waiting: 3, running: 5, decoding: 4 },
    draining: () => false,
    latencies: world.latencies,
    tokens: () => world.tokens,
    resumed: () => ({ requests: 0, recomputedTokens: 0 }),
    served: ["calf", "cow"],
    models: ["calf"],
    maxModelLen: 128,
    now: () => world.now,
  });
  return { world, status };
}

const traffic = (expertLoads: number[][], bytes: number) => ({
  rowsTo: [0, 0],
  rowsSent: [0, 0],
  bytesTo: [0, bytes],
  expertLoads,
});

test("a snapshot is what its schema says, and its first rates are 0", async () => {
  const { status } = twoRanks();
  const snapshot = await status.read();
  assert.deepEqual(statusSnapshot.parse(snapshot), snapshot);
  assert.equal(snapshot.seconds, 0);
  assert.deepEqual(snapshot.requests, { waiting: 3, prefill: 1, decode: 4 });
  assert.deepEqual(snapshot.units[0].experts[0].choices, [0, 0, 0, 0]);
  assert.deepEqual(snapshot.cost, { acceleratorHour: "2", accelerators: 2, perHour: "4" });
});

test("rates are what was counted over the time that passed", async () => {
  const { world, status } = twoRanks();
  await status.tick();
  world.now += 2500;
  world.tokens = { hit: 64, miss: 100, output: 50 };
  world.ranks = [
    { ...idle, promptTokens: 164, generatedTokens: 20, traffic: traffic([[5, 0, 1, 0]], 1000) },
    { ...idle, generatedTokens: 30, traffic: traffic([[0, 2, 0, 9]], 0) },
  ];
  const { seconds, tokensPerSecond, units, upSeconds } = await status.read();
  assert.equal(seconds, 2.5);
  assert.equal(upSeconds, 2.5);
  assert.deepEqual(tokensPerSecond, { hit: 25.6, miss: 40, output: 20 });
  assert.deepEqual(
    units[0].ranks.map(({ promptTokensPerSecond }) => promptTokensPerSecond),
    [65.6, 0],
  );
  assert.deepEqual(
    units[0].ranks.map(({ generatedTokensPerSecond }) => generatedTokensPerSecond),
    [8, 12],
  );
  assert.equal(units[0].ranks[0].bytesPerSecond, 400);
  assert.deepEqual(units[0].experts[0].choices, [5, 2, 1, 9]);
});

test("a long pause is no moment to take rates over", async () => {
  const { world, status } = twoRanks();
  await status.tick();
  world.now += 3_600_000;
  world.tokens = { hit: 0, miss: 36, output: 0 };
  const { seconds, tokensPerSecond, tokens } = await status.read();
  assert.equal(seconds, 0);
  assert.equal(tokensPerSecond.miss, 0);
  assert.equal(tokens.miss, 36);
});

test("reading changes nothing: the next rates are still since the last tick", async () => {
  const { world, status } = twoRanks();
  await status.tick();
  for (let reading = 1; reading <= 3; reading++) {
    world.now += 1000;
    world.tokens = { hit: 0, miss: 0, output: 60 * reading };
    const { seconds, tokensPerSecond } = await status.read();
    assert.deepEqual([seconds, tokensPerSecond.output], [reading, 60]);
  }
  assert.equal((await status.tick()).seconds, 3);
  assert.equal((await status.read()).seconds, 0);
});

test("income is exact: all tokens at DeepSeek-R1's price", async () => {
  const { world, status } = twoRanks();
  world.tokens = { hit: 1_000_000, miss: 1_000_000, output: 1_000_001 };
  const { income } = await status.read();
  assert.equal(income.price, "DeepSeek-R1");
  assert.deepEqual(income.dollarsPerMillionTokens, { hit: "0.14", miss: "0.55", output: "2.19" });
  assert.equal(income.total, "2.88000219");
});

test("an engine that does not answer is told of, with its topology", async () => {
  const { world, status } = twoRanks();
  await status.read();
  world.ranks = undefined;
  world.now += 1000;
  const snapshot = await status.read();
  assert.equal(snapshot.engine, "down");
  assert.equal(snapshot.units[0].ranks.length, 2);
  assert.deepEqual(statusSnapshot.parse(snapshot), snapshot);
});

test("a rank's context cache is told of, and whether its store is asked", async () => {
  const { world, status } = twoRanks();
  const counts = { hits: 5, misses: 4, lent: 3, written: 3, dropped: 2, late: 1, failed: 7 };
  const bytes = { bytesRead: 10, bytesWritten: 20 };
  const contextCache = {
    ...{
      ...counts,
      ...bytes,
      computed: 0,
      blockMicros: {},
      rejected: { key: 2, "wrong size": 1 },
    },
    bypassed: { writes: "no space left on device" },
  } as const;
  world.ranks = [{ ...idle, contextCache }, idle];
  const snapshot = await status.read();
  assert.deepEqual(statusSnapshot.parse(snapshot), snapshot);
  const [first, second] = snapshot.units[0].ranks;
  assert.deepEqual(first.contextCache, { ...counts, ...bytes, rejected: 3, bypassed: ["writes"] });
  assert.equal(second.contextCache, undefined);
});

test("a prefill rank tells what it hands over, a unit what of its steps overlaps", async () => {
  const { world, status } = twoRanks();
  const handedOver = { sequences: 4, tokens: 1000, bytes: 50_000 };
  world.ranks = [{ ...idle, steps: 10, overlappedSteps: 9, handedOver }, idle];
  await status.tick();
  world.now += 2000;
  const later = { sequences: 6, tokens: 1763, bytes: 90_000 };
  world.ranks = [{ ...idle, steps: 20, overlappedSteps: 14, handedOver: later }, idle];
  const snapshot = await status.read();
  const [{ overlapped, ranks }] = snapshot.units;
  assert.equal(overlapped, 0.5);
  assert.deepEqual(ranks[0].handedOverPerSecond, { sequences: 1, tokens: 381.5, bytes: 20_000 });
  assert.equal(ranks[1].handedOverPerSecond, undefined);
  assert.deepEqual(statusSnapshot.parse(snapshot), snapshot);
  await status.tick();
  world.now += 1000;
  assert.equal((await status.read()).units[0].overlapped, null, "no steps, no share");
});

test("journeys are those on their way, and those that ended since the last tick", async () => {
  const { world, status } = twoRanks();
  await status.tick();
  const asked = world.now;
  world.journeys = [
    { number: 1, rank: 0, decodeRank: 1, asked, started: asked + 1, ended: asked - 1 },
    { number: 2, rank: 0, asked, ended: asked + 500 },
    { number: 3, rank: 0, asked },
  ];
  world.now += 1000;
  const snapshot = await status.read();
  assert.deepEqual(statusSnapshot.parse(snapshot), snapshot);
  assert.deepEqual(
    snapshot.journeys.map(({ number }) => number),
    [2, 3],
  );
});

test("latency is of the last minute, and nothing where nothing was said", async () => {
  const { world, status } = twoRanks();
  assert.deepEqual((await status.read()).latency, { firstToken: null, perToken: null });
  const watch = world.latencies.sequence(world.now);
  for (const at of [100, 120, 150]) watch.token(world.now + at);
  watch.end();
  world.now += 1000;
  const snapshot = await status.read();
  assert.deepEqual(snapshot.latency.firstToken, { p50: 100, p95: 100 });
  assert.deepEqual(snapshot.latency.perToken, { p50: 20, p95: 30 });
  assert.deepEqual(statusSnapshot.parse(snapshot), snapshot);
});
