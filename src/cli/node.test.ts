import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { clusterSecret, parseTopology } from "../cluster/index.ts";
import { freePort } from "../cluster/fixtures.ts";
import { Relay } from "../cluster/relay-fixtures.ts";
import { Engine, type EngineOptions, type GenerationEvent } from "../engine/index.ts";
import { answer, emptied, read, request } from "../engine/api/fixtures.ts";
import { greedySampling, instructionSets } from "../kernels/index.ts";
import { tinyFixtures } from "../model/fixtures.ts";

const [fixture] = tinyFixtures().filter(({ name }) => name === "fp8");
const [other] = tinyFixtures().filter(({ name }) => name === "v3");
const folder = mkdtempSync(join(tmpdir(), "daysix-node-test-"));
after(() => rmSync(folder, { recursive: true }));
const main = fileURLToPath(new URL("./main.js", import.meta.url));
const secretText = "a secret that both nodes know";
const secretFile = join(folder, "secret");
writeFileSync(secretFile, secretText);
/** Longer than a busy machine gives a node no turn; and for tests of silence. */
const PATIENCE_MS = 30_000;
const BRIEF_MS = 2000;

interface NodeRun {
  readonly process: ChildProcess;
  /** Resolves when it has said so much on both outputs. */
  readonly says: (pattern: RegExp) => Promise<void>;
  /** What it has said on both outputs, once it has ended. */
  readonly ended: Promise<{ readonly status: number | null; readonly said: string }>;
}

/** `daysix node` as a user starts it. */
function startNode(
  port: number,
  flags: Readonly<Record<string, string>> = {},
  env: NodeJS.ProcessEnv = process.env,
): NodeRun {
  const all = {
    join: `127.0.0.1:${port}`,
    "secret-file": secretFile,
    model: fixture.directory,
    policy: "f32",
    "failure-timeout": `${PATIENCE_MS / 1000}s`,
    "rejoin-timeout": "1s",
    ...flags,
  };
  const options = Object.entries(all).flatMap(([name, value]) =>
    value === "" ? [`--${name}`] : [`--${name}`, value],
  );
  const child = spawn(process.execPath, [main, "node", ...options], { env });
  let said = "";
  child.stdout.on("data", (data) => (said += data));
  child.stderr.on("data", (data) => (said += data));
  const ended = once(child, "close").then(([status]) => ({ status, said: messagesOf(said) }));
  const says = async (pattern: RegExp) => {
    while (!pattern.test(said)) {
      assert.equal(child.exitCode, null, said);
      await delay(10);
    }
  };
  return { process: child, says, ended };
}

/** Lines of the log as what they say. */
const messagesOf = (lines: string) =>
  lines.replace(/^\{.*\}$/gm, (line) => (JSON.parse(line) as { msg: string }).msg);

interface Waiting {
  readonly port: Promise<number>;
  readonly engine: Promise<Engine>;
  readonly refusals: string[];
}

interface WaitingOptions extends Partial<EngineOptions> {
  readonly listenAt?: number;
  readonly failureTimeoutMs?: number;
}

/** An engine on two nodes that waits for the second. */
function startEngine(
  topology: string,
  { listenAt = 0, failureTimeoutMs = PATIENCE_MS, ...options }: WaitingOptions = {},
): Waiting {
  const refusals: string[] = [];
  let heard: (port: number) => void = () => undefined;
  const port = new Promise<number>((resolve) => (heard = resolve));
  const engine = Engine.start({
    modelDirectory: fixture.directory,
    policy: "f32",
    kvMemoryBytes: 2 ** 20,
    topology: parseTopology(topology),
    nodes: {
      count: 2,
      failureTimeoutMs,
      await: {
        listen: { host: "127.0.0.1", port: listenAt },
        secret: clusterSecret(secretText),
        listening: heard,
        refused: (reason) => refusals.push(reason),
      },
    },
    ...options,
  });
  engine.catch(() => undefined);
  return { port, engine, refusals };
}

const short = request(fixture.tokens, { maxTokens: 6 });
const long = request(fixture.tokens, { maxTokens: 100_000 });

/** Asks again and again, until so much has come about; the whole answers. */
async function readUntil(engine: Engine, done: () => boolean): Promise<GenerationEvent[][]> {
  const answers: GenerationEvent[][] = [];
  while (!done()) answers.push(answer(await read(engine.generate(long))));
  return answers;
}

const faults: [name: string, strike: (node: NodeRun, way: Relay) => void, reason: RegExp][] = [
  ["killed", (node) => node.process.kill("SIGKILL"), /node 1 is lost/],
  ["frozen", (node) => node.process.kill("SIGSTOP"), /node 1 is lost: nothing was heard from it/],
  ["cut off", (_, way) => way.cut(), /node 1 is lost/],
];

const topologies = ["combined=2x1", "prefill=2x1,decode=2x1"];

for (const [name, strike, reason] of faults) {
  // A frozen node costs the failure timeout; how it was lost is nothing to what follows.
  for (const topology of name === "killed" ? topologies : topologies.slice(1)) {
    test(`a node that is ${name} leaves its requests to the other: ${topology}`, async () => {
      const failureTimeoutMs = name === "frozen" ? BRIEF_MS : PATIENCE_MS;
      const waiting = startEngine(topology, { failureTimeoutMs });
      const way = await Relay.start(await waiting.port);
      const node = startNode(way.port, { "failure-timeout": `${failureTimeoutMs / 1000}s` });
      const engine = await waiting.engine;
      const expected = answer(await read(engine.generate(long)));
      const isLost = () => engine.lost.size > 0;
      const live = Array.from({ length: 4 }, () => readUntil(engine, isLost));
      await read(engine.generate(short));

      strike(node, way);
      for (const events of (await Promise.all(live)).flat()) assert.deepEqual(events, expected);

      const reasons = (await engine.rankStats()).flatMap(({ lost }) => lost ?? []);
      assert.ok(reasons.length > 0 && reasons.every((each) => reason.test(each)), reasons.join());
      await emptied(engine);
      await engine.close();
      node.process.kill("SIGCONT");
      const { status } = await node.ended;
      if (name !== "killed") assert.equal(status, 1, "a node ends that finds no coordinator again");
      way.close();
    });
  }
}

/** Resolves when the units are in such states, with so many ranks. */
async function unitsAre(engine: Engine, expected: string): Promise<void> {
  const told = () =>
    engine.units
      .map(({ state, ranks }) => {
        const nodes = new Set(ranks.map(({ node }) => node));
        return `${state} ${ranks.length} of ${[...nodes].join("+")}`;
      })
      .join();
  for (const end = performance.now() + 20_000; told() !== expected;) {
    assert.ok(performance.now() < end, `${told()}; ${engine.problems.join()}`);
    await delay(20);
  }
}

test("a unit that spans both nodes goes on with the ranks left, and takes back a node that returns", async () => {
  const waiting = startEngine("combined=1x2");
  const port = await waiting.port;
  const node = startNode(port);
  const engine = await waiting.engine;
  const expected = answer(await read(engine.generate(long)));
  const alone = () =>
    engine.units.some(({ state, ranks }) => state === "serving" && ranks.length === 1);
  const live = Array.from({ length: 4 }, () => readUntil(engine, alone));
  await read(engine.generate(short));
  node.process.kill("SIGKILL");
  for (const events of (await Promise.all(live)).flat()) assert.deepEqual(events, expected);
  await unitsAre(engine, "serving 1 of 0");

  const whole = () => engine.units.some(({ ranks }) => ranks.length === 2);
  const more = Array.from({ length: 2 }, () => readUntil(engine, whole));
  const again = startNode(port);
  for (const events of (await Promise.all(more)).flat()) assert.deepEqual(events, expected);
  await unitsAre(engine, "serving 2 of 0+2");
  assert.deepEqual(answer(await read(engine.generate(long))), expected);
  assert.ok(engine.placements[0], "its ranks share the experts again");
  await emptied(engine);
  await engine.close();
  assert.equal((await again.ended).status, 0);
});

test("a node that was cut off from its coordinator joins again once there is a way", async () => {
  const waiting = startEngine("combined=2x1");
  const way = await Relay.start(await waiting.port);
  const node = startNode(way.port, { "rejoin-timeout": "60s" });
  const engine = await waiting.engine;
  const expected = answer(await read(engine.generate(short)));
  way.cut();
  await unitsAre(engine, "serving 1 of 0,serving 1 of 0");
  way.heal();
  await unitsAre(engine, "serving 1 of 0,serving 1 of 2");
  const answers = await Promise.all([1, 2, 3, 4].map(() => read(engine.generate(short))));
  for (const events of answers) assert.deepEqual(answer(events), expected);
  await engine.close();
  assert.equal((await node.ended).status, 0);
  way.close();
});

test("a node that is not waited for any more takes part once there is a unit for it", async () => {
  const waiting = startEngine("prefill=1x1,decode=1x1");
  const port = await waiting.port;
  const node = startNode(port);
  const engine = await waiting.engine;
  const expected = answer(await read(engine.generate(long)));
  const spare = startNode(port);
  await spare.says(/node 2: joined/);
  engine.scale({ decode: 2 });
  await unitsAre(engine, "serving 1 of 0,serving 1 of 1,serving 1 of 2");
  const answers = await Promise.all([1, 2, 3, 4].map(() => read(engine.generate(long))));
  for (const events of answers) assert.deepEqual(answer(events), expected);
  await engine.close();
  for (const one of [node, spare]) assert.equal((await one.ended).status, 0);
});

test("who does not belong is refused, and the right node still joins", async () => {
  const waiting = startEngine("combined=2x1");
  const port = await waiting.port;
  const garbage = connect(port, "127.0.0.1");
  garbage.on("error", () => undefined);
  garbage.write(Buffer.alloc(4096, 0xa5));
  const wrongSecret = join(folder, "wrong");
  writeFileSync(wrongSecret, "another secret of sixteen bytes");
  const wrong: [flags: Record<string, string>, said: RegExp][] = [
    [{ "secret-file": wrongSecret }, /secret/],
    [{ model: other.directory }, /modelHash: the cluster has/],
    [{ "verify-model": "" }, /modelBytes: the cluster has "sample", the joining node "all"/],
    [{ policy: "w8a8" }, /policy: the cluster has "f32", the joining node "w8a8"/],
  ];
  for (const [flags, expected] of wrong) {
    const { status, said } = await startNode(port, flags).ended;
    assert.equal(status, 1);
    assert.match(said, expected);
  }
  assert.equal(waiting.refusals.length, 5, waiting.refusals.join("; "));
  const node = startNode(port);
  const engine = await waiting.engine;
  assert.equal((await read(engine.generate(short))).at(-1)?.kind, "finished");
  await engine.close();
  const { status, said } = await node.ended;
  assert.deepEqual([status, said], [0, "node 1: joined\nthe cluster has closed\n"]);
});

/** Of threads and processes that this one starts from now on; by default the machine's best. */
function useInstructionSet(instructionSet: string | undefined): void {
  if (instructionSet === undefined) delete process.env["DAYSIX_ISA"];
  else process.env["DAYSIX_ISA"] = instructionSet;
}

const sets = instructionSets();
const [own, theirs] = ["avx512", "avx2"];

for (const policy of ["w8a16", "int8"] as const) {
  const skip = [own, theirs].every((set) => sets.includes(set))
    ? false
    : "this machine has no two vectors";
  test(
    `nodes of different instruction sets give the same answers: ${policy}`,
    { skip },
    async () => {
      const before = process.env["DAYSIX_ISA"];
      const asked = [0, 1, 2, 3].map((i) =>
        request(fixture.tokens.slice(0, 5 + 3 * i), {
          id: `${i}`,
          maxTokens: 12,
          topLogprobs: 2,
          sampling: i % 2 === 0 ? greedySampling : { ...greedySampling, temperature: 0.9, seed: i },
        }),
      );
      const answers = (engine: Engine) =>
        Promise.all(asked.map(async (each) => answer(await read(engine.generate(each)))));
      try {
        useInstructionSet("portable");
        const alone = await Engine.start({
          modelDirectory: fixture.directory,
          policy,
          kvMemoryBytes: 2 ** 20,
        });
        const expected = await answers(alone);
        await alone.close();
        useInstructionSet(own);
        const waiting = startEngine("prefill=1x2,decode=1x2", { policy });
        const node = startNode(
          await waiting.port,
          { policy },
          { ...process.env, DAYSIX_ISA: theirs },
        );
        const engine = await waiting.engine;
        assert.deepEqual(await answers(engine), expected);
        await engine.close();
        assert.equal((await node.ended).status, 0);
      } finally {
        if (before === undefined) delete process.env["DAYSIX_ISA"];
        else useInstructionSet(before);
      }
    },
  );
}

test(
  "a node whose tiles have other bits is refused under w8a16",
  { skip: sets.includes("amx") ? false : "this machine has no tiles" },
  async () => {
    const waiting = startEngine("combined=2x1", { policy: "w8a16" });
    const port = await waiting.port;
    const env = { ...process.env, DAYSIX_ISA: "portable" };
    const { status, said } = await startNode(port, { policy: "w8a16" }, env).ended;
    assert.equal(status, 1);
    assert.match(said, /bits: the cluster has "amx", the joining node "common"/);
    const node = startNode(port, { policy: "w8a16" });
    await (await waiting.engine).close();
    await node.ended;
  },
);

test("a node waits for a server that is not there yet, and with --once does not", async () => {
  const port = await freePort();
  const { status, said } = await startNode(port, { once: "" }).ended;
  assert.equal(status, 1);
  assert.match(said, /ECONNREFUSED/);
  const early = startNode(port);
  await early.says(/ECONNREFUSED.*; trying again/);
  const engine = await startEngine("combined=2x1", { listenAt: port }).engine;
  assert.equal((await read(engine.generate(short))).at(-1)?.kind, "finished");
  await engine.close();
  assert.equal((await early.ended).status, 0);
});

test("mistakes on the command line are named", async () => {
  const wrong: [flags: Record<string, string>, said: RegExp][] = [
    [{ join: "nowhere" }, /--join: expected HOST:PORT, got nowhere/],
    [{ "secret-file": join(folder, "none") }, /--secret-file: secret file .*none/],
    [{ "failure-timeout": "0s" }, /--failure-timeout: expected a time above 0/],
    [{ "rejoin-timeout": "soon" }, /--rejoin-timeout: /],
  ];
  for (const [flags, expected] of wrong) {
    const { status, said } = await startNode(1, flags).ended;
    assert.equal(status, 2, said);
    assert.match(said, expected);
  }
});

test("nothing of a cluster is left open", async () => {
  const left = () =>
    process
      .getActiveResourcesInfo()
      .filter((name) => /TCP|TLS|Process|MessagePort|Worker/.test(name));
  for (let tries = 0; tries < 100 && left().length > 0; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.deepEqual(left(), []);
});
