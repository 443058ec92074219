import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { formatTopology, parseTopology } from "../cluster/index.ts";
import { nodesHere } from "../engine/index.ts";
import { coresOfEach } from "../kernels/index.ts";
import { bundledModel } from "./bundled-model.ts";
import { program } from "./program.ts";
import { parseNamedModel } from "./named-models.ts";
import { modelsOf } from "./served-models.ts";

const folder = mkdtempSync(join(tmpdir(), "daysix-served-models-"));
after(() => rmSync(folder, { recursive: true }));

/** Flags of `daysix serve` as cac has them. */
function flagsOf(...argv: readonly string[]): Record<string, unknown> {
  program.parse(["node", "daysix", "serve", "--packed-dir", "off", ...argv], { run: false });
  return program.options;
}

const parse = (text: string) => parseNamedModel(text, ["topology", "policy", "kv-memory"]);

const served = async (...argv: readonly string[]) => modelsOf(flagsOf(...argv));

test("a model has a name, a folder and flags of its own, whose values may have commas", async () => {
  const parsed = {
    name: "deepseek-ai/R1",
    directory: "/models/a,b",
    own: { topology: "prefill=1x2,decode=1x2", policy: "int8", "kv-memory": "1G" },
  };
  const { name, directory, own } = parsed;
  const flags = Object.entries(own).map(([flag, value]) => `,${flag}=${value}`);
  assert.deepEqual(await parse(`${name}=${directory}${flags.join("")}`), parsed);
  assert.deepEqual(await parse("r1=org/name@main"), {
    ...{ name: "r1", directory: "org/name@main", own: {} },
  });
});

test("a path is no name, and what exists is a path whatever it looks like", async () => {
  const odd = join(folder, "step=100");
  mkdirSync(odd);
  assert.equal(await parse(odd), undefined);
  assert.equal(await parse("./models/step=100"), undefined);
  assert.equal(await parse("models/calf"), undefined);
  assert.equal((await parse(`odd=${odd}`))?.directory, odd);
  const before = process.cwd();
  process.chdir(folder);
  assert.equal(await parse("step=100"), undefined);
  assert.equal((await parse("step=101"))?.name, "step");
  process.chdir(before);
});

test("what is wrong is named by its model and its part", async () => {
  const calf = `calf=${bundledModel}`;
  for (const [argv, said] of [
    [["a="], /^--model a: expected a=DIR, got a=$/],
    [[`a=${bundledModel},topolgy=x`], /^--model a: expected topology, .* got topolgy$/],
    [[`a=${bundledModel},policy=f32,policy=int8`], /^--model a: policy is given twice$/],
    [[`a=${bundledModel},policy=f64`], /^--model a: --policy: expected .*, got f64$/],
    [[`a=${bundledModel},topology=x`], /^--model a: --topology: .*"x"/],
    [[`a=${bundledModel},kv-memory=much`], /^--model a: --kv-memory: expected a size.* got much$/],
    [["a=/nowhere"], /^--model a: \/nowhere: there is no such folder$/],
    [[calf, calf], /^--model: the name calf is given twice$/],
    [[calf, bundledModel], /^--model: of several models each has a name: NAME=DIR, got \//],
  ] as const) {
    await assert.rejects(served(...argv.flatMap((each) => ["--model", each])), { message: said });
  }
  const two = ["--model", calf, "--model", `cow=${bundledModel}`];
  for (const [flags, said] of [
    [["--served-model-name", "x"], /^--served-model-name: --model has the name already/],
    [["--nodes", "2"], /^--model calf: --nodes: expected at most one for each rank \(1\), got 2$/],
    [["--trace", "x"], /^--trace: expected one --model beside it, got calf, cow$/],
  ] as const) {
    await assert.rejects(served(...two, ...flags), { message: said });
  }
});

test("of folders without names the last is served, under its own name or those that are given", async () => {
  const plain = ["--model", "/nowhere", "--model", bundledModel];
  const [{ engine, names }, ...others] = await served(...plain);
  assert.deepEqual([engine.modelDirectory, names, others], [bundledModel, undefined, []]);
  const [renamed] = await served(...plain, "--served-model-name", "a,b");
  assert.deepEqual(renamed.names, ["a", "b"]);
  assert.equal((await served())[0].engine.modelDirectory, bundledModel);
});

test("flags are of all models, and KV memory and cores are shared by those without their own", async () => {
  const models = await served(
    ...["--kv-memory", "96M", "--topology", "combined=1x2", "--threads", "4096"],
    ...["--model", `a=${bundledModel},policy=f32`],
    ...["--model", `b=${bundledModel},policy=w8a8,topology=prefill=1x1,decode=2x1`],
    ...["--model", `c=${bundledModel},policy=f32,kv-memory=1G,max-model-len=100,threads=1`],
  );
  const told = models.map(({ names, engine, maxModelLen }) => [
    ...[names?.join(), engine.policy, engine.kvMemoryBytes / 2 ** 20, maxModelLen],
    engine.topology && formatTopology(engine.topology),
  ]);
  assert.deepEqual(told, [
    ["a", "f32", 48, undefined, "combined=1x2"],
    ["b", "w8a8", 48, undefined, "prefill=1x1,decode=2x1"],
    ["c", "f32", 1024, 100, "combined=1x2"],
  ]);
  const most = coresOfEach(7);
  assert.deepEqual(
    models.map(({ engine }) => engine.threads),
    [most, most, 1],
  );
});

test("ranks share the cores of their machine, unless flags say how many threads each has", async () => {
  const schedule = join(folder, "threads-schedule");
  writeFileSync(schedule, "08:30 prefill=3,decode=2");
  const secret = join(folder, "secret");
  writeFileSync(secret, "a".repeat(32), { mode: 0o600 });
  const four = ["--topology", "prefill=1x2,decode=1x2"];
  const elsewhere = ["--nodes", "2", "--listen", "127.0.0.1:0", "--secret-file", secret];
  for (const [flags, threads] of [
    [[], coresOfEach(1)],
    [four, coresOfEach(4)],
    [[...four, "--nodes", "2"], coresOfEach(4)],
    [[...four, "--threads", "1"], 1],
    [[...four, "--threads", "4096"], coresOfEach(4)],
    [[...four, ...elsewhere], "all"],
    [[...four, ...elsewhere, "--threads", "4096"], 4096],
    [[...four, "--scale-schedule", schedule], 1],
    [[...four, ...elsewhere, "--scale-schedule", schedule], 1],
  ] as const) {
    const [{ engine }] = await served(...flags);
    assert.equal(engine.threads, threads, flags.join(" "));
  }
});

test("a model's own way of scaling goes before that of all, whichever it is", async () => {
  const schedule = join(folder, "schedule");
  writeFileSync(schedule, "08:30 prefill=3,decode=2");
  const load = "load,prefill=100,decode=100";
  for (const [common, own] of [
    [["--scale-schedule", schedule], `scale-policy=${load}`],
    [["--scale-policy", load], `scale-schedule=${schedule}`],
  ] as const) {
    const [a, b] = await served(
      ...["--topology", "prefill=1x1,decode=1x1", ...common],
      ...["--model", `a=${bundledModel},${own}`, "--model", `b=${bundledModel}`],
    );
    const ways = [a, b].map((model) => [model.scalePolicy, model.schedule].map((way) => !!way));
    const expected = [true, false];
    if (own.startsWith("scale-schedule")) expected.reverse();
    assert.deepEqual(ways, [expected, expected.toReversed()]);
  }
});

test("ranks that are waited for on other machines take no cores of this one", () => {
  const options = { modelDirectory: bundledModel, policy: "w8a16", kvMemoryBytes: 1 } as const;
  const topology = parseTopology("combined=1x8");
  const waitsFor = { listen: { host: "127.0.0.1", port: 0 }, secret: "s" } as never;
  assert.equal(nodesHere({ ...options, topology, nodes: { count: 4 } }).length, 8);
  assert.deepEqual(
    nodesHere({ ...options, topology, nodes: { count: 4, await: waitsFor } }),
    [0, 0],
  );
});
