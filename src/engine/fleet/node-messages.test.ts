import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeBody, encodeBody } from "../../cluster/links/body.ts";
import { parseBody, parseTopology } from "../../cluster/index.ts";
import { greedySampling } from "../../kernels/index.ts";
import type { ModelConfig } from "../../model/index.ts";
import { request } from "../api/fixtures.ts";
import { columnsOf, eventsOf } from "../event-columns.ts";
import type { GenerationEvent, HandledEvent, RankCommand, RankNews } from "../messages.ts";
import { admitted } from "../requests.ts";
import {
  firstUnits,
  launchSchema,
  placeOf,
  planFleet,
  settingsOf,
  type Launch,
} from "./fleet-plan.ts";
import { nodeNewsSchema, orderSchema } from "./node-messages.ts";

/** What arrives of a body. */
const wire = (body: unknown) => decodeBody(encodeBody(body));

const asked = admitted({
  ...request([1, 2, 3]),
  blockKeys: Uint8Array.of(0, 255),
  topLogprobs: 0,
  sampling: { ...greedySampling, temperature: 0.1 + 0.2, logitBias: { 7: -1.5 }, seed: 2 ** 40 },
});

const commands: RankCommand[] = [
  { kind: "generate", handle: 1, request: asked },
  { kind: "generate", handle: 2, request: asked, decodeRank: 3 },
  { kind: "expect", handle: 2, request: asked, prefillRank: 0 },
  { kind: "cancel", handle: 9 },
  { kind: "heard" },
  { kind: "meet", ranks: [7, 8] },
  { kind: "place", version: 4, placement: [[0, 1, 1]] },
];

for (const command of commands) {
  test(`another node is told to ${command.kind} as it would be here`, () => {
    const order = { kind: "command", rank: 5, command };
    assert.deepEqual(parseBody(wire(order), orderSchema), order);
  });
}

type Chosen = Extract<GenerationEvent, { kind: "token" }>;

function chosen(handle: number, own: Partial<Chosen>): HandledEvent {
  const event = { kind: "token", token: 0, top: [], proposed: false, refuted: 0 } as const;
  return { handle, event: { ...event, ...own } };
}

const logprob = Math.fround(-0.1234567);
const events: HandledEvent[] = [
  { handle: 1, event: { kind: "started", hitTokens: 64 } },
  chosen(1, { token: 3, logprob, top: [{ token: 3, logprob }] }),
  chosen(3, { token: 2 ** 31, proposed: true }),
  chosen(3, { token: 5, logprob: 0, refuted: 7 }),
  { handle: 1, event: { kind: "finished", reason: "stop" } },
  { handle: 2, event: { kind: "failed", code: "rank_lost", message: "rank 2 is lost" } },
];
const columns = columnsOf(events);
const spans = {
  node: 1,
  rank: 5,
  names: Uint8Array.of(1, 2),
  starts: Float64Array.of(0.5, 1e9 + 0.25),
  // A span that an error kept from ending.
  ends: Float64Array.of(1.5, Number.NaN),
  steps: Int32Array.of(1, 1),
  layers: Int16Array.of(-1, 3),
  rows: Int32Array.of(7, 7),
  microBatches: Int32Array.of(0, 1),
};

const said: RankNews[] = [
  { kind: "events", columns, pagesInUse: 7, stepMs: 1.5 },
  { kind: "spans", spans },
];

for (const news of said) {
  test(`${news.kind} of another node's rank arrive as they were`, () => {
    const told = { kind: "said", rank: 5, news };
    assert.deepEqual(parseBody(wire(told), nodeNewsSchema), told);
  });
}

test("a step's events become columns and events again, each request's in order", () => {
  assert.deepEqual([...eventsOf(columns)], events);
});

test("what is no message is named by the field that is wrong", () => {
  const command = (change: object) => ({ kind: "command", rank: 1, command: change });
  const told = (news: object) => ({ kind: "said", rank: 0, news });
  const stepped = (change: object) =>
    told({ kind: "events", columns: { ...columns, ...change }, pagesInUse: 0, stepMs: 0 });
  const generate = (change: object) =>
    command({ kind: "generate", handle: 1, request: { ...asked, ...change } });
  const wrong: [body: unknown, schema: typeof orderSchema | typeof nodeNewsSchema, RegExp][] = [
    [command({ kind: "cancel" }), orderSchema, /^command\.handle: /],
    [{ ...command({ kind: "heard" }), rank: -1 }, orderSchema, /^rank: /],
    [{ kind: "run", code: "process.exit()" }, orderSchema, /^kind: /],
    [generate({ prompt: [1, 2] }), orderSchema, /^command\.request\.prompt: /],
    [generate({ prompt: Int32Array.of(-1) }), orderSchema, /^command\.request\.prompt: /],
    [
      stepped({ tokens: Uint32Array.of(1, 2) }),
      nodeNewsSchema,
      /^news\.columns: .* fit each other/,
    ],
    [stepped({ top: new Uint32Array(9) }), nodeNewsSchema, /^news\.columns: .* fit each other/],
    [
      told({ kind: "spans", spans: { ...spans, rows: Int32Array.of(1) } }),
      nodeNewsSchema,
      /^news\.spans: expected columns of one length/,
    ],
    [null, nodeNewsSchema, /expected object/],
  ];
  for (const [body, schema, message] of wrong) {
    assert.throws(() => parseBody(wire(body), schema as typeof orderSchema), { message });
  }
});

test("a launch arrives whole, endless limits included, and says where each rank stands", () => {
  const config = { gate: { experts: 4, groups: 1 }, layers: 2, firstDense: 1 } as ModelConfig;
  const plan = planFleet(
    {
      topology: parseTopology("prefill=1x2,decode=1x3"),
      nodes: 2,
      policy: "w8a16",
      kvMemoryBytes: 2 ** 20,
      chunkRows: 256,
      contextCache: { store: "/cache", limits: { maxBytes: 1e9, maxAgeMs: Infinity } },
    },
    config,
  );
  const units = firstUnits(plan);
  const launch: Launch = {
    settings: settingsOf(plan),
    units: units.map(({ role: _role, ...unit }) => unit),
    ranks: units.flatMap(({ ranks }) => ranks),
  };
  assert.deepEqual(parseBody(wire(launch), launchSchema), launch);
  const { node, unit, partners, placement } = placeOf(launch.units, 4);
  assert.deepEqual(
    [unit, partners],
    [
      [2, 3, 4],
      [0, 1],
    ],
  );
  assert.equal(node, plan.nodeOfRank[4]);
  assert.deepEqual(placement, [[0, 1, 2, 3, 0, 1]]);
});
