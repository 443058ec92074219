import assert from "node:assert/strict";
import { test } from "node:test";
import type { Json } from "../../cluster/index.ts";
import { greedySampling } from "../../kernels/index.ts";
import { fleetPlanSchema, planFleet, placeOf } from "./fleet-plan.ts";
import { parseTopology } from "../../cluster/index.ts";
import { request } from "../api/fixtures.ts";
import { admitted } from "../requests.ts";
import type { EngineCommand, RankNews } from "../messages.ts";
import { newsOf, newsSchema, orderOf, orderSchema, parseBody } from "./node-messages.ts";
import type { ModelConfig } from "../../model/index.ts";

/** What arrives of a body. */
const wire = (body: unknown) => JSON.parse(JSON.stringify(body)) as Json;

const asked = admitted({
  ...request([1, 2, 3]),
  blockKeys: Uint8Array.of(0, 255),
  topLogprobs: 0,
  sampling: { ...greedySampling, temperature: 0.1 + 0.2, logitBias: { 7: -1.5 }, seed: 2 ** 40 },
});

const commands: EngineCommand[] = [
  { kind: "generate", handle: 1, request: asked },
  { kind: "generate", handle: 2, request: asked, decodeRank: 3 },
  { kind: "expect", handle: 2, request: asked, prefillRank: 0 },
  { kind: "cancel", handle: 9 },
  { kind: "heard" },
  { kind: "place", version: 4, placement: [[0, 1, 1]] },
];

for (const command of commands) {
  test(`another node is told to ${command.kind} as it would be here`, () => {
    const order = parseBody(wire(orderOf(5, command)), orderSchema);
    assert.deepEqual(order, { kind: "command", rank: 5, command });
  });
}

const logprob = Math.fround(-0.1234567);
const news: RankNews[] = [
  {
    kind: "events",
    events: [
      { handle: 1, event: { kind: "started", hitTokens: 64 } },
      { handle: 1, event: { kind: "token", token: 3, logprob, top: [{ token: 3, logprob }] } },
      { handle: 1, event: { kind: "finished", reason: "stop" } },
      { handle: 2, event: { kind: "failed", code: "rank_lost", message: "rank 2 is lost" } },
    ],
  },
  {
    kind: "spans",
    spans: {
      node: 1,
      rank: 5,
      names: Uint8Array.of(1, 2),
      starts: Float64Array.of(0.5, 1e9 + 0.25),
      // A span that an error kept from ending.
      ends: Float64Array.of(1.5, Number.NaN),
      steps: Int32Array.of(1, 1),
      layers: Int16Array.of(-1, 3),
      rows: Int32Array.of(7, 7),
      microBatches: Uint8Array.of(0, 1),
    },
  },
];

for (const each of news) {
  test(`${each.kind} of another node's rank arrive as they were`, () => {
    assert.deepEqual(parseBody(wire(newsOf(5, each)), newsSchema), { ...each, rank: 5 });
  });
}

test("what is no message is named by the field that is wrong", () => {
  const wrong: [body: Json, schema: typeof orderSchema | typeof newsSchema, message: RegExp][] = [
    [{ kind: "command", rank: 1, command: { kind: "cancel" } }, orderSchema, /^command\.handle: /],
    [{ kind: "command", rank: -1, command: { kind: "heard" } }, orderSchema, /^rank: /],
    [{ kind: "run", code: "process.exit()" }, orderSchema, /^kind: /],
    [
      { kind: "events", rank: 0, events: [{ handle: 0, event: {} }] },
      newsSchema,
      /^events\.0\.event/,
    ],
    [null, newsSchema, /expected object/],
  ];
  for (const [body, schema, message] of wrong) {
    assert.throws(() => parseBody(body, schema as typeof orderSchema), { message });
  }
});

test("a plan arrives whole, endless limits included, and says where each rank stands", () => {
  const config = { gate: { experts: 4, groups: 1 }, layers: 2, firstDense: 1 } as ModelConfig;
  const plan = planFleet(
    {
      topology: parseTopology("prefill=1x2,decode=1x3"),
      nodes: 2,
      policy: "w8a16",
      kvMemoryBytes: 2 ** 20,
      chunkRows: 256,
      contextCache: { directory: "/cache", limits: { maxBytes: 1e9, maxAgeMs: Infinity } },
    },
    config,
  );
  assert.deepEqual(parseBody(wire(plan), fleetPlanSchema), plan);
  const { node, unit, prefillRanks, placement } = placeOf(plan, 4);
  assert.deepEqual(
    [unit, prefillRanks],
    [
      [2, 3, 4],
      [0, 1],
    ],
  );
  assert.equal(node, plan.nodeOfRank[4]);
  assert.deepEqual(placement, [[0, 1, 2, 3, 0, 1]]);
});
