import assert from "node:assert/strict";
import { pino } from "pino";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { rebalanceExperts } from "../balancing/index.ts";
import { parseTopology } from "../cluster/index.ts";
import { bundledModel } from "./bundled-model.ts";
import { startServing } from "./serve.ts";
import { Shutdown } from "./shutdown.ts";

const main = fileURLToPath(new URL("./main.js", import.meta.url));
const directory = await mkdtemp(join(tmpdir(), "daysix-rebalance-"));
after(() => rm(directory, { recursive: true }));

/** The example of EPLB's README. */
const loads = [
  [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
  [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
];
const file = join(directory, "loads.json");
await writeFile(file, JSON.stringify(loads));
const unit = ["--replicas", "16", "--groups", "4", "--nodes", "2", "--ranks", "8"];

const rebalance = (...options: string[]) =>
  new Promise<{ status: number; out: string; err: string }>((done) => {
    const child = execFile(process.execPath, [main, "rebalance", ...options], (_, out, err) =>
      done({ status: child.exitCode ?? -1, out, err }),
    );
  });

test("JSON is the plan, and nothing else", async () => {
  const { status, out } = await rebalance("--loads", file, ...unit, "--policy", "eplb", "--json");
  assert.equal(status, 0);
  const topology = { replicas: 16, groups: 4, nodes: 2, ranks: 8, policy: "eplb" } as const;
  assert.deepEqual(JSON.parse(out), rebalanceExperts(loads, topology));
  assert.deepEqual(Object.keys(JSON.parse(out) as object), [
    "physicalToLogical",
    "logicalToPhysical",
    "replicas",
    "maxOverMean",
  ]);
});

test("a table shows each layer's balance", async () => {
  const { out } = await rebalance("--loads", file, ...unit);
  assert.match(out, /^2 layers, 12 experts in 16 slots, 2 on each of 8 ranks, 2 nodes$/m);
  assert.match(out, /^ +0 +1\.2081 +2 of expert 1$/m);
  assert.match(out, /^ +1 +1\.2422 +2 of expert 1$/m);
});

test("what is wrong is said in one line that names the option, with exit status 2", async () => {
  const broken = join(directory, "broken.json");
  await writeFile(broken, "[[1, 2], [3]");
  const words = join(directory, "words.json");
  await writeFile(words, '[[1, "two"]]');
  const given = ["--loads", file, ...unit];
  for (const [options, said] of [
    [unit, /^daysix: --loads is required$/],
    [["--loads", file], /^daysix: --replicas is required$/],
    [[...given, "--policy", "fastest"], /^daysix: --policy: expected eplb or best, got fastest$/],
    [["--loads", file, "--replicas", "15", "--ranks", "8"], /^daysix: --replicas: expected a mult/],
    [["--loads", "missing.json", ...unit], /^daysix: --loads: cannot read missing\.json/],
    [["--loads", broken, ...unit], /^daysix: --loads: cannot read .*broken\.json as JSON/],
    [["--loads", words, ...unit], /^daysix: --loads: .* in .*words\.json: \[0\]\[1\]: .*number/],
  ] as const) {
    const { status, out, err } = await rebalance(...options);
    assert.equal(status, 2);
    assert.equal(out, "");
    assert.match(err.trimEnd(), said);
  }
});

test("a running server places its experts for what it has served", async () => {
  const shutdown = new Shutdown(assert.ifError);
  const serving = await startServing(
    {
      models: [
        {
          engine: {
            modelDirectory: bundledModel,
            policy: "w8a16",
            kvMemoryBytes: 2 ** 25,
            topology: parseTopology("combined=1x2"),
            experts: { redundantExperts: 4 },
          },
        },
      ],
      host: "127.0.0.1",
      port: 0,
      apiKey: "key",
      log: pino({ level: "silent" }),
    },
    shutdown,
  );
  const { url } = serving;
  const nothing = await rebalance("--url", url, "--api-key", "key");
  assert.equal(nothing.out, "no unit would be better off\n");
  await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { authorization: "Bearer key", "content-type": "application/json" },
    body: JSON.stringify({
      model: serving.models[0].names[0],
      prompt: "Once upon a time",
      max_tokens: 4,
    }),
  }).then((response) => response.json());
  const { status, out } = await rebalance("--url", url, "--api-key", "key", "--json");
  assert.equal(status, 0);
  const { units } = JSON.parse(out) as { units: { before: number; after: number }[] };
  assert.ok(units.length === 1 && units[0].after < units[0].before, out);
  const { status: refused, err } = await rebalance("--url", url, "--api-key", "wrong");
  const reason = "invalid API key; expected authorization: Bearer KEY";
  assert.deepEqual([refused, err], [2, `daysix: ${url} answers 401: ${reason}\n`]);
  await shutdown.close();
});
