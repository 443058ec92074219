import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseTopology } from "../../cluster/index.ts";
import type { EngineStats } from "../../engine/index.ts";
import { expertsTouched } from "./expert-weights.ts";
import { loadsOf, rungFigures, type Observed } from "./figures.ts";
import { ladderRequests } from "./load.ts";
import { drawLadder } from "./picture.ts";
import type { RankSpan } from "./rank-spans.ts";
import { ladderRungs } from "./rungs.ts";

const stats = (steps: number, bytesTo: number[], load: number): EngineStats => ({
  ...{ waiting: 0, running: 0, pages: 1, pagesInUse: 0, pagesCached: 0, steps },
  ...{ promptTokens: 0, hitTokens: 0, generatedTokens: 0, proposedTokens: 0 },
  ...{ acceptedTokens: 0, preemptions: 0 },
  traffic: { rowsTo: [0, 0], rowsSent: [0, 0], bytesTo, expertLoads: [[load, load, 2 * load, 0]] },
});

/** A step of four rows and 100 µs: 40 of attention, 40 of communication of which 10 are covered. */
const step = (rank: number, start: number): RankSpan[] => {
  const span = (kind: string, activity: RankSpan["activity"], from: number, to: number) => ({
    ...{ rank: `${rank}`, kind, activity, rows: 4, microBatch: 0 },
    ...{ start: start + from, end: start + to },
  });
  return [
    span("STEP", "step", 0, 100),
    span("ATTN", "compute", 0, 40),
    span("GATE", "compute", 40, 40),
    span("DISPATCH", "communication", 30, 70),
  ];
};

const observed: Observed = {
  name: "+ expert parallelism",
  rounds: [{ seconds: 2, prefillSeconds: 0.5 }],
  ...{ promptTokens: 100, answerTokens: 40, nodeOfRank: [0, 1] },
  before: [stats(10, [0, 100], 1), stats(10, [100, 0], 1)],
  after: [stats(12, [0, 300], 5), stats(12, [700, 0], 5)],
  spans: [[...step(0, 0), ...step(0, 200)], step(1, 0)],
  placements: [[[0, 1, 2, 3]]],
};

const bytes = {
  ...{ dense: 1000, head: 500, expert: 100, embedding: 0, expertLayer: 0, context: 0 },
};
const topology = parseTopology("combined=1x2");

test("a rung's figures are of its rounds alone, by rank and step", () => {
  const loads = loadsOf(observed) ?? [];
  assert.deepEqual(loads, [[8, 8, 16, 0]]);
  const figures = rungFigures(observed, topology, { bytes, topK: 1, expertLayers: 1 }, loads);
  assert.equal(figures.promptTokensPerSecond, 200);
  assert.equal(figures.answerTokensPerSecond, 20);
  assert.equal(figures.expertImbalance, 2);
  const [unit] = figures.units;
  // 200 and 600 bytes in two steps.
  assert.equal(unit.sentBytesPerStep, 200);
  assert.equal(unit.wireBytesPerStep, 200);
  assert.equal(unit.rowsPerStep, 4);
  assert.deepEqual(
    [unit.compute, unit.covered, unit.exposed, unit.idle, unit.coveredShare].map((share) =>
      Math.round(100 * (share ?? 0)),
    ),
    [40, 10, 30, 30, 25],
  );
  // The first rank's experts are chosen half the time, as the second's.
  assert.equal(unit.receivedImbalance, 1);
  assert.ok(unit.workImbalance > 1.3, "two steps against one");
  // Eight rows of the unit choose nearly all of three experts, which two ranks share.
  const experts = expertsTouched(loads, 1, 8) / 2;
  assert.ok(experts > 1.3 && experts < 1.5);
  assert.equal(unit.weightBytesPerStep, 1500 + 100 * experts);
});

test("more rows touch more experts, at most all that are ever chosen", () => {
  const property = fc.property(
    fc.array(fc.nat(100), { minLength: 4, maxLength: 64 }),
    fc.integer({ min: 1, max: 4 }),
    fc.integer({ min: 1, max: 1000 }),
    (layer, topK, rows) => {
      const touched = expertsTouched([layer], topK, rows);
      assert.ok(touched <= layer.filter((load) => load > 0).length + 1e-9);
      assert.ok(touched <= topK * rows + 1e-9);
      assert.ok(expertsTouched([layer], topK, rows + 1) >= touched);
    },
  );
  fc.assert(property);
});

test("rounds ask for as much, of other tokens", () => {
  const load = { requests: 12, prompt: 100, answer: 10 };
  const [first, second] = [1, 2].map((round) => ladderRequests(load, round, 1000));
  const lengths = (requests: typeof first) => requests.map(({ prompt }) => prompt.length);
  assert.deepEqual(lengths(first), lengths(second));
  assert.notDeepEqual(first[0].prompt, second[0].prompt);
  const tokens = lengths(first).reduce((sum, length) => sum + length, 0);
  assert.equal(Math.round(tokens / 12), 100);
  assert.ok(lengths(first)[0] > 4 * lengths(first)[1]);
});

test("each rung adds one idea to the one before", () => {
  const told = ladderRungs(topology).map(({ name, options }) => [name, options([[1, 2]])]);
  assert.deepEqual(told, [
    ["data parallel", { experts: "replicated", overlap: "off", routing: "turns" }],
    ["+ expert parallelism", { overlap: "off", routing: "turns" }],
    ["+ overlap", { overlap: "auto", routing: "turns" }],
    ["+ prefill and decode balancers", { overlap: "auto" }],
    [
      "+ expert balancer",
      { overlap: "auto", experts: { redundantExperts: 2, expertLoads: [[1, 2]] } },
    ],
  ]);
});

test("the picture has a row for each rung and unit, and DeepSeek's own", () => {
  const shape = { bytes, topK: 1, expertLayers: 1 };
  const [figures] = [rungFigures(observed, topology, shape, loadsOf(observed) ?? [])];
  const [unit] = figures.units;
  const units = (["prefill", "decode"] as const).map((role) => ({ ...unit, role }));
  const picture = drawLadder([{ ...figures, name: "a < b", units }], "a & b");
  for (const words of ["a &lt; b", "a &amp; b", "prefill unit", "decode unit", "profile, EP128"]) {
    assert.ok(picture.includes(words), words);
  }
  assert.equal(picture.match(/<rect/g)?.length, 1 + 4 * 4 + 2 + 4, "ground, shares, rates, legend");
});
