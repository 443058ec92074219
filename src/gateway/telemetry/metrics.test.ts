/** `node metrics.test.js --write` writes docs/metrics.md anew. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import parse from "parse-prometheus-text-format";
import { parseTopology } from "../../cluster/index.ts";
import type { EngineStats } from "../../engine/index.ts";
import type { GenerationEnd } from "../billing/index.ts";
import type { ClusterView } from "../status/index.ts";
import { type MeasuredModel, Metrics } from "./metrics.ts";

const stats: EngineStats = {
  ...{ waiting: 1, running: 2, pages: 8, pagesInUse: 6, pagesCached: 1, steps: 30 },
  ...{ promptTokens: 100, hitTokens: 64, generatedTokens: 40, preemptions: 3 },
  ...{ proposedTokens: 10, acceptedTokens: 7 },
  traffic: { rowsTo: [0, 5], rowsSent: [0, 5], bytesTo: [0, 500], expertLoads: [] },
  contextCache: {
    ...{
      hits: 2,
      misses: 3,
      computed: 0,
      lent: 5,
      blockMicros: { read: 1500 },
      bytesRead: 10,
      written: 4,
      bytesWritten: 20,
      dropped: 1,
    },
    ...{ late: 0, failed: 1, rejected: { identity: 1 }, bypassed: { reads: "late" } },
  },
};

const end: GenerationEnd = {
  outcome: "complete",
  finishReasons: ["stop", "length"],
  usage: {
    ...{ prompt_tokens: 100, completion_tokens: 40, total_tokens: 140 },
    ...{ prompt_cache_hit_tokens: 64, prompt_cache_miss_tokens: 36 },
    prompt_tokens_details: { cached_tokens: 64 },
    completion_tokens_details: {
      ...{ reasoning_tokens: 0, accepted_prediction_tokens: 0, rejected_prediction_tokens: 0 },
    },
  },
  reading: {
    ...{ hit: 64, miss: 36, output: 40, kvTokensRead: 0, sequences: 2 },
    ...{ firstTokenMs: 0, decodeMs: 0, resumed: 1, recomputedTokens: 7 },
  },
};

const cluster: Pick<ClusterView, "topology" | "nodeOfRank" | "units" | "scaling"> = {
  topology: parseTopology("prefill=1x1,decode=1x1"),
  nodeOfRank: [0, 1],
  units: () => [
    { unit: 0, role: "prefill", state: "serving" },
    { unit: 7, role: "decode", state: "lost" },
  ],
  scaling: {
    wanted: { prefill: 1, decode: 3 },
    changes: [],
    countsOf: (role) => ({ up: role === "decode" ? 2 : 0, down: 0 }),
  },
};

const calf = (ranks: () => Promise<readonly EngineStats[]>): MeasuredModel => ({
  name: "calf",
  build: { policy: "w8a16", instruction_set: "avx2" },
  load: { waiting: 2, running: 1, decoding: 0 },
  cluster: { ...cluster, rankStats: ranks },
});

/** Another model beside it, which has ended. */
const cow: MeasuredModel = {
  name: "cow",
  build: { policy: "int8", instruction_set: "avx2" },
  load: { waiting: 0, running: 4, decoding: 0 },
  cluster: {
    ...{ topology: parseTopology("combined=1x1"), nodeOfRank: [0] },
    units: () => [{ unit: 0, role: "combined", state: "lost" }],
    scaling: {
      wanted: { combined: 1 },
      changes: [],
      countsOf: () => ({ up: 0, down: 0 }),
    },
    rankStats: () => Promise.reject(new Error("the engine has ended")),
  },
};

const ledger = { isWritable: true };

/** A server that has answered, been refused to and lost a rank; one of its models has ended. */
async function exposition(): Promise<string> {
  const ranks = [stats, { ...stats, lost: "gone" }];
  const metrics = new Metrics([calf(async () => ranks), cow], ledger);
  const times = metrics.times("calf", 1000);
  const [one, two] = [times.sequence(), times.sequence()];
  one.started(1200);
  for (const time of [1500, 1530, 1500]) one.token(time);
  one.resume(7);
  two.started(900);
  metrics.countEnd("calf", times, end, 3000);
  metrics.countEnd(
    "calf",
    metrics.times("calf", 0),
    { ...end, outcome: "left", finishReasons: [null] },
    9,
  );
  metrics.countRequest("/v1/chat/completions", 200);
  metrics.countRefusal("unread");
  return metrics.expose();
}

const text = await exposition();
const families = parse(text);

function valueOf(name: string, labels: Readonly<Record<string, string>> = {}): number {
  const family = families.find((each) => each.name === name);
  const samples = family?.metrics.filter((sample) =>
    Object.entries(labels).every(([label, value]) => sample.labels?.[label] === value),
  );
  assert.equal(samples?.length, 1, `${name} ${JSON.stringify(labels)}`);
  return Number(samples[0].value);
}

test("what requests took is counted where their waits end, and tokens as they are billed", () => {
  assert.equal(valueOf("vllm:prompt_tokens_total"), 200);
  assert.equal(valueOf("vllm:prefix_cache_hits_total"), 128);
  assert.equal(valueOf("vllm:request_success_total", { finished_reason: "stop" }), 1);
  assert.equal(valueOf("vllm:request_success_total", { finished_reason: "abort" }), 1);
  assert.equal(valueOf("vllm:num_requests_waiting", { model_name: "calf" }), 2);
  for (const [name, sum, count] of [
    ["vllm:time_to_first_token_seconds", 0.5, 1],
    // A clock that was set back has not run backwards.
    ["vllm:inter_token_latency_seconds", 0.03, 2],
    ["vllm:request_queue_time_seconds", 0.2, 2],
    ["vllm:request_prefill_time_seconds", 0.3, 1],
    ["vllm:request_decode_time_seconds", 0.03, 1],
    ["vllm:e2e_request_latency_seconds", 2, 1],
    ["vllm:request_prompt_tokens", 100, 1],
  ] as const) {
    const told = (part: string) => {
      const line = text.split("\n").find((each) => each.startsWith(`${name}_${part}{`));
      assert.match(line ?? "", /model_name="calf"/);
      return Number(line?.split(" ").at(-1));
    };
    assert.ok(Math.abs(told("sum") - sum) < 1e-9, `${name}: ${told("sum")}`);
    assert.equal(told("count"), count, name);
  }
});

test("what ranks count has their place, and a lost rank shows", () => {
  const [first, second] = [
    { unit: "0", role: "prefill", rank: "0", node: "0", model_name: "calf" },
    { unit: "7", role: "decode", rank: "1", node: "1", model_name: "calf" },
  ];
  assert.equal(valueOf("daysix_rank_up", first), 1);
  assert.equal(valueOf("daysix_rank_up", second), 0);
  assert.equal(valueOf("vllm:num_requests_running", { model_name: "cow" }), 4);
  assert.equal(valueOf("daysix_engine_up", { model_name: "cow" }), 0);
  assert.equal(valueOf("daysix_units", { model_name: "cow", state: "lost" }), 1);
  assert.equal(valueOf("daysix_units", { role: "decode", state: "lost" }), 1);
  assert.equal(valueOf("daysix_units", { role: "decode", state: "serving" }), 0);
  assert.equal(valueOf("daysix_units_wanted", { role: "decode" }), 3);
  assert.equal(valueOf("daysix_scale_changes_total", { role: "decode", direction: "up" }), 2);
  assert.equal(valueOf("vllm:kv_cache_usage_perc", first), 0.75);
  assert.equal(valueOf("vllm:external_prefix_cache_hits_total", second), 128);
  assert.equal(valueOf("daysix_context_cache_blocks_total", { ...second, outcome: "lent" }), 5);
  assert.equal(valueOf("daysix_context_cache_block_seconds", { ...second, way: "read" }), 0.0015);
  assert.equal(valueOf("daysix_exchange_bytes_total", second), 500);
  assert.equal(valueOf("vllm:cache_config_info", { ...first, block_size: "64" }), 1);
  assert.equal(valueOf("daysix_context_cache_bypassed", { ...first, operations: "reads" }), 1);
  assert.equal(valueOf("daysix_build_info", { policy: "w8a16", instruction_set: "avx2" }), 1);
});

test("what is scraped twice is not counted twice, and an engine that is gone has no ranks", async () => {
  let ranks = async () => [stats, stats];
  const metrics = new Metrics([calf(() => ranks())]);
  await metrics.expose();
  const again = parse(await metrics.expose());
  const steps = again.find(({ name }) => name === "daysix_steps_total")!;
  assert.deepEqual(
    steps.metrics.map(({ value }) => value),
    ["30", "30"],
  );
  ranks = () => Promise.reject(new Error("the engine has ended"));
  const gone = await metrics.expose();
  assert.match(gone, /^daysix_engine_up\{model_name="calf"\} 0$/m);
  assert.doesNotMatch(gone, /^daysix_steps_total\{/m);
});

test("a ledger that cannot be written shows, and none where nothing is billed", async () => {
  const ledgerUp = async (metrics: Metrics) =>
    /^daysix_ledger_up (\d)$/m.exec(await metrics.expose())?.[1];
  const own = { isWritable: false };
  const metrics = new Metrics([cow], own);
  assert.equal(await ledgerUp(metrics), "0");
  own.isWritable = true;
  assert.equal(await ledgerUp(metrics), "1");
  assert.equal(await ledgerUp(new Metrics([cow])), undefined);
});

const labelsOf = (family: string) => {
  const names = text
    .split("\n")
    .filter((line) => line.replace(/_bucket\{/, "{").startsWith(`${family}{`))
    .flatMap((line) => [...line.matchAll(/[{,](\w+)="/g)].map(([, label]) => label));
  return [...new Set(names)].filter((label) => label !== "le");
};

const page = new URL("../../../docs/metrics.md", import.meta.url);

const written = `# Metrics

\`GET /metrics\` tells these in Prometheus' text format. Names that begin with \`vllm:\` mean what they mean
in vLLM, so that dashboards, autoscalers and routers made for it read them; the others are DaySix's own.
\`deploy/grafana-dashboard.json\` draws them. Where the server has a key, the scraper sends it:
\`authorization: Bearer KEY\`. Made of \`src/gateway/telemetry\`:
\`node dist/gateway/telemetry/metrics.test.js --write\`.

A sequence is one choice of one request. Figures of ranks are those of \`rank\` in \`unit\`, on \`node\`.
A rank that is lost keeps its last counts until its unit is started anew; the new unit's ranks have numbers of
their own and count from zero.

| name | kind | labels | |
|---|---|---|---|
${families
  .map(({ name, type, help }) => {
    const labels = labelsOf(name).map((label) => `\`${label}\``);
    return `| \`${name}\` | ${type.toLowerCase()} | ${labels.join(", ")} | ${help} |\n`;
  })
  .join("")}`;

test("the documentation has what /metrics tells", () => {
  if (process.argv.includes("--write")) writeFileSync(page, written);
  assert.equal(readFileSync(page, "utf8"), written);
});

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

test("every expression of the Grafana dashboard names metrics that there are", () => {
  const file = new URL("../../../deploy/grafana-dashboard.json", import.meta.url);
  const { panels } = JSON.parse(readFileSync(file, "utf8")) as { panels: readonly Panel[] };
  const names = new Set(families.map(({ name }) => name));
  const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  assert.ok(expressions.length > 20);
  for (const expression of expressions) {
    const used = expression.match(/\b(?:vllm:|daysix_)\w+/g) ?? [];
    assert.ok(used.length > 0, expression);
    for (const name of used) {
      assert.ok(names.has(name) || names.has(name.replace(/_(bucket|sum|count)$/, "")), name);
    }
  }
});
