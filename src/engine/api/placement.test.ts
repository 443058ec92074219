import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTopology } from "../../cluster/index.ts";
import { dispatchedRows } from "../../expert-parallel/index.ts";
import { randomSource } from "../../kernels/index.ts";
import { greedySampling, policies, type Policy } from "../../kernels/index.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import { Engine } from "./client.ts";
import type { EngineOptions } from "./engine-options.ts";
import { answer, emptied, read } from "./fixtures.ts";
import type { AskedRequest } from "../messages.ts";

const [fixture] = tinyFixtures().filter(({ name }) => name === "fp8");
const EXPERTS = 6;
const TOP_K = 2;
const MOE_LAYERS = 1;

const start = (policy: Policy, options: Partial<EngineOptions> = {}) =>
  Engine.start({
    modelDirectory: fixture.directory,
    policy,
    kvMemoryBytes: 2 ** 21,
    chunkRows: 40,
    ...options,
  });

/** Short and long prompts that share prefixes, greedy and sampled. */
const requests = Array.from({ length: 8 }, (_, i): AskedRequest => {
  const length = [5, 70, 130, 64][i % 4] + i;
  return {
    id: `${i}`,
    tenant: "",
    prompt: Array.from({ length }, (__, at) => fixture.tokens[at % fixture.tokens.length]),
    choice: 0,
    maxTokens: 1 + 3 * i,
    stopTokens: [],
    topLogprobs: 2,
    sampling: i % 2 === 0 ? greedySampling : { ...greedySampling, temperature: 0.9, seed: i },
  };
});

const ask = async (engine: Engine, asked: AskedRequest) =>
  answer(await read(engine.generate(asked)));

async function answers(policy: Policy, options?: Partial<EngineOptions>) {
  const engine = await start(policy, options);
  try {
    const told = await Promise.all(requests.map((request) => ask(engine, request)));
    const { pagesInUse, waiting, running } = await engine.stats();
    assert.deepEqual([pagesInUse, waiting, running], [0, 0, 0], "nothing is left behind");
    return { told, ranks: await engine.rankStats() };
  } finally {
    await engine.close();
  }
}

/** Every expert somewhere, some twice, anywhere. */
function randomPlacement(physical: number, seed: number): number[][] {
  const random = randomSource(seed);
  return Array.from({ length: MOE_LAYERS }, () => {
    const map = Array.from({ length: physical }, (_, i) =>
      i < EXPERTS ? i : Math.floor(random() * EXPERTS),
    );
    for (let i = map.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [map[i], map[j]] = [map[j], map[i]];
    }
    return map;
  });
}

const settings: [string, Partial<EngineOptions>][] = [
  ["combined=1x4", { overlap: "on" }],
  ["combined=2x1", {}],
  ["prefill=1x1,decode=1x1", {}],
  ["prefill=1x2,decode=1x3", { overlap: "on", experts: { placement: randomPlacement(12, 1) } }],
  ["prefill=2x2,decode=2x2", { experts: { placement: randomPlacement(10, 2) } }],
  ["prefill=2x2,decode=2x2", { overlap: "on", nodes: { count: 2 } }],
  ["prefill=1x2,decode=1x2", { experts: "replicated" }],
];

/** All settings under the default policy; under others those that share experts, apart and on two nodes. */
const settingsOf = (policy: Policy) =>
  policy === "w8a16" ? settings : [settings[0], settings[3], settings[5]];

for (const policy of policies) {
  test(`placement never changes the answer: ${policy}`, async () => {
    const { told: expected } = await answers(policy);
    for (const [topology, options] of settingsOf(policy)) {
      const { told } = await answers(policy, { topology: parseTopology(topology), ...options });
      assert.deepEqual(told, expected, topology);
    }
  });
}

test("a unit's ranks send each other rows, and count what they send", async () => {
  const { ranks } = await answers("w8a16", {
    topology: parseTopology("prefill=1x2,decode=1x2"),
  });
  const prompt = requests.reduce((sum, request) => sum + request.prompt.length, 0);
  const loads = ranks.map(({ traffic }) => traffic?.expertLoads.flat() ?? []);
  const chosen = loads.flat().reduce((sum, load) => sum + load, 0);
  const generated = requests.reduce((sum, { maxTokens }) => sum + maxTokens, 0);
  const computed = chosen / (MOE_LAYERS * TOP_K);
  assert.ok(computed <= prompt + generated && computed > generated, `${computed} rows`);
  for (const { traffic } of ranks) {
    assert.ok(traffic && traffic.rowsTo.every((rows) => rows > 0));
    assert.deepEqual(
      traffic.bytesTo.map((bytes) => bytes > 0).filter(Boolean),
      [true],
      "only the other rank is sent bytes",
    );
  }
});

test("a rank that has all experts counts the same choices as ranks that share them", async () => {
  const request = requests[6];
  const choices: number[][] = [];
  for (const form of ["combined=1x1", "combined=1x2"]) {
    const engine = await start("w8a16", { topology: parseTopology(form) });
    await ask(engine, request);
    const loads = (await engine.rankStats()).map(({ traffic }) => traffic?.expertLoads[0] ?? []);
    await engine.close();
    const count = (expert: number) => loads.reduce((sum, load) => sum + (load[expert] ?? 0), 0);
    choices.push(Array.from({ length: EXPERTS }, (_, expert) => count(expert)));
  }
  const rows = request.prompt.length + request.maxTokens - 1;
  assert.equal(
    choices[0].reduce((sum, load) => sum + load, 0),
    rows * TOP_K,
  );
  assert.deepEqual(choices[0], choices[1]);
});

test("prefill ranks count what they hand over", async () => {
  const { ranks } = await answers("w8a16", { topology: parseTopology("prefill=1x1,decode=1x2") });
  const [prefill, ...decode] = ranks;
  // An answer of one token ends where its prompt was computed.
  const leaving = requests.filter(({ maxTokens }) => maxTokens > 1);
  const positions = leaving.reduce((sum, { prompt }) => sum + prompt.length, 0);
  const { sequences = 0, tokens = 0, bytes = 0 } = prefill.handedOver ?? {};
  assert.equal(sequences, leaving.length);
  assert.ok(tokens > 0 && tokens <= positions, `${tokens} of ${positions} positions`);
  assert.ok(bytes > tokens);
  for (const rank of decode) assert.equal(rank.handedOver?.sequences, 0);
});

test("ranks of one unit on two nodes send each other rows over the link", async () => {
  const topology = parseTopology("prefill=1x2,decode=1x2");
  const engine = await start("w8a16", { topology, nodes: { count: 2 } });
  await Promise.all(requests.map((request) => ask(engine, request)));
  const traffic = (await engine.rankStats()).map((rank) => rank.traffic);
  const { nodeOfRank } = engine;
  const rows = dispatchedRows(topology, nodeOfRank, traffic);
  await engine.close();
  assert.deepEqual(nodeOfRank, [0, 1, 0, 1]);
  assert.ok(rows.links.length === 2 && rows.links.every((link) => link.rows > 0));
  const sent = rows.ranks.flatMap((to, rank) => to.filter((_, index) => index !== rank % 2));
  assert.equal(
    rows.links.reduce((sum, link) => sum + link.rows, 0),
    sent.reduce((sum, each) => sum + each, 0),
    "all that leaves a rank here crosses the link",
  );
});

test("a request that leaves frees both of its ranks", async () => {
  const engine = await start("f32", { topology: parseTopology("prefill=1x2,decode=1x2") });
  const long = { ...requests[3], maxTokens: 100_000 };
  for (let tokens = 0; tokens < 4; tokens++) {
    let heard = 0;
    for await (const event of engine.generate(long)) {
      if (event.kind === "token") heard++;
      if (heard >= tokens) break;
    }
  }
  await emptied(engine);
  await engine.close();
});
