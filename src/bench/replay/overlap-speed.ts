#!/usr/bin/env node
/**
 * What overlap hides of a link's time: two nodes of one core each, in two network namespaces joined by a
 * wire, one unit of two ranks. Steps with and without overlap are measured in turns, beside what the stages'
 * windows allow. The wire has a given rate, or `equal`: one at which it takes a step's rows as long as the ranks
 * compute. For root, on Linux.
 *
 *   npm run bench:overlap -- [wire] [shape] [layers] [rounds] [prompt] [requests] [context]
 *   by default equal v2-lite 4 8 2048 64 512; a prompt, or so many requests behind a context, for each rank.
 *   No prompt or no requests: nothing of that is measured.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { clusterSecret, generateSecret, parseTopology, parseWire } from "../../cluster/index.ts";
import { Engine, greedySampling, type OverlapMode } from "../../engine/index.ts";
import { MOST_PARTS } from "../../expert-parallel/index.ts";
import { operandRowBytes, randomSource } from "../../kernels/index.ts";
import { readConfig } from "../../model/index.ts";
import type { SpanBatch } from "../../trace/index.ts";
import { spansByRank } from "../ladder/index.ts";
import { cachedCheckpoint, type ShapeName } from "../model/index.ts";
import { median } from "../percentiles.ts";
import { layLink, setRate, type Link } from "./link.ts";
import { overlapFigures, stepTimes, type StepTimes, type StepTraffic } from "./overlap-figures.ts";

const [wire = "equal", shape = "v2-lite", ...counts] = process.argv.slice(2);
const [layers = 4, rounds = 8, prompt = 2048, requests = 64, context = 512] = counts.map(Number);
const FORMAT = "int8";
const POLICY = "int8";
const RANKS = 2;
const DECODED_TOKENS = 6;
/** Requests that go on from the same tokens, each for itself. */
const SHARING = 64;
/** While no rate has been found. */
const FAST = 1e11;
const INSIDE = "DAYSIX_BENCH_LINK";

const main = fileURLToPath(new URL("../../cli/main.js", import.meta.url));

interface Inside extends Pick<Link, "address" | "far" | "ends"> {
  readonly directory: string;
}

/** Runs this program again inside the near namespace. */
async function runInside(): Promise<never> {
  const directory = await cachedCheckpoint(shape as ShapeName, layers, FORMAT);
  const rate = wire === "equal" ? { latencyMs: 0, bitsPerSecond: FAST } : parseWire(wire);
  const link = layLink(rate);
  const [program, ...words] = [...link.near, "taskset", "-c", "0", ...process.argv];
  const inside = JSON.stringify({ directory, ...link } satisfies Inside);
  const child = spawn(program, words, {
    stdio: "inherit",
    env: { ...process.env, [INSIDE]: inside },
  });
  const status = await new Promise<number>((resolve) =>
    child.once("exit", (code) => resolve(code ?? 1)),
  );
  link.remove();
  process.exit(status);
}

const draw = randomSource(5);

/** Two nodes in one mode, and the spans of their ranks. */
class MeasuredEngine {
  readonly engine: Engine;
  readonly #node: ChildProcess | undefined;
  readonly #folder: string;
  readonly #batches: SpanBatch[];

  static async start(
    { directory, address, far }: Inside,
    overlap: OverlapMode,
  ): Promise<MeasuredEngine> {
    const secret = generateSecret();
    const folder = mkdtempSync(join(tmpdir(), "daysix-overlap-"));
    const secretFile = join(folder, "secret");
    writeFileSync(secretFile, secret);
    let node: ChildProcess | undefined;
    const listening = (port: number) => {
      const flags = ["--join", `${address}:${port}`, "--model", directory, "--policy", POLICY];
      const words = [...far, "taskset", "-c", "1", process.execPath, main, "node", ...flags];
      const [program, ...rest] = [...words, "--secret-file", secretFile];
      node = spawn(program, rest, { stdio: ["ignore", "ignore", "inherit"] });
    };
    const listen = { host: address, port: 0 };
    const awaited = { listen, secret: clusterSecret(secret), listening, refused: console.error };
    const batches: SpanBatch[] = [];
    const engine = await Engine.start(
      {
        ...{ modelDirectory: directory, policy: POLICY, overlap, kvMemoryBytes: 2 ** 29 },
        ...{ chunkRows: Math.max(prompt, 256), topology: parseTopology(`combined=1x${RANKS}`) },
        nodes: { count: 2, await: awaited },
      },
      { trace: { epochMs: Date.now(), write: (batch) => batches.push(batch) } },
    );
    return new MeasuredEngine(engine, node, folder, batches);
  }

  private constructor(
    engine: Engine,
    node: ChildProcess | undefined,
    folder: string,
    batches: SpanBatch[],
  ) {
    this.engine = engine;
    this.#node = node;
    this.#folder = folder;
    this.#batches = batches;
  }

  /** Steps of so many rows on each rank while the requests are answered. */
  async run(asked: readonly number[][], maxTokens: number, rows: number): Promise<StepTimes> {
    this.#batches.splice(0);
    await this.answer(asked, maxTokens);
    return stepTimes(spansByRank(this.#batches, RANKS, 0), rows);
  }

  async answer(asked: readonly number[][], maxTokens: number): Promise<void> {
    const answers = asked.map(async (tokens, id) => {
      const request = { id: `${id}`, tenant: "", prompt: tokens, choice: 0, stopTokens: [] };
      const sampling = greedySampling;
      for await (const event of this.engine.generate({ ...request, maxTokens, sampling })) {
        if (event.kind === "failed") throw new Error(event.message);
      }
    });
    await Promise.all(answers);
  }

  /** Bytes that a rank has sent so far, and the mean of its rows to other ranks. */
  async sent(): Promise<{ readonly rows: number; readonly bytes: number }> {
    const told = await this.engine.rankStats();
    const off = (rank: number, values: readonly number[] = []) =>
      values.reduce((total, value, to) => total + (to === rank ? 0 : value), 0);
    const mean = (of: "rowsTo" | "bytesTo") =>
      told.reduce((total, { traffic }, rank) => total + off(rank, traffic?.[of]), 0) / RANKS;
    return { rows: mean("rowsTo"), bytes: mean("bytesTo") };
  }

  async close(): Promise<void> {
    await this.engine.close();
    this.#node?.kill();
    rmSync(this.#folder, { recursive: true });
  }
}

/** What each rank is given in a round. */
interface Workload {
  readonly name: "prefill" | "decode";
  /** Of a measured step, on each rank. */
  readonly rows: number;
  readonly maxTokens: number;
  /** Prompts whose KV is kept from the start. */
  readonly contexts: number[][];
  readonly drawPrompts: (vocabSize: number) => number[][];
}

const drawTokens = (length: number, vocabSize: number) =>
  Array.from({ length }, () => Math.floor(draw() * vocabSize));

function workloads(vocabSize: number): Workload[] {
  const prefill: Workload = {
    ...{ name: "prefill", rows: prompt, maxTokens: 1, contexts: [] },
    drawPrompts: () => Array.from({ length: RANKS }, () => drawTokens(prompt, vocabSize)),
  };
  // One for each rank at least: requests go to the rank that has their context.
  const sharers = Math.max(RANKS, Math.ceil((RANKS * requests) / SHARING));
  const contexts = Array.from({ length: sharers }, () => drawTokens(context, vocabSize));
  const decode: Workload = {
    ...{ name: "decode", rows: requests, maxTokens: 1 + DECODED_TOKENS, contexts },
    drawPrompts: () =>
      Array.from({ length: RANKS * requests }, (_, i) => [
        ...contexts[i % contexts.length],
        ...drawTokens(1, vocabSize),
      ]),
  };
  return [...(prompt > 0 ? [prefill] : []), ...(requests > 0 ? [decode] : [])];
}

const modes = ["off", "on", "auto"] as const;

async function measure(inside: Inside): Promise<void> {
  const engines: MeasuredEngine[] = [];
  for (const mode of modes) engines.push(await MeasuredEngine.start(inside, mode));
  const config = await readConfig(inside.directory);
  const row = operandRowBytes({ format: "int8", columns: config.hiddenSize });
  for (const work of workloads(engines[0].engine.vocabSize)) {
    const { name, rows, maxTokens, drawPrompts } = work;
    const once = (engine: MeasuredEngine) =>
      engine.run(drawPrompts(engines[0].engine.vocabSize), maxTokens, rows);
    if (wire === "equal") setRate(inside.ends, FAST);
    for (const engine of engines) {
      await engine.answer(work.contexts, 1);
      await once(engine);
    }
    const before = await engines[0].sent();
    const alone = await once(engines[0]);
    const after = await engines[0].sent();
    const share = alone.rows / alone.allRows;
    const bytes = share * (after.bytes - before.bytes);
    const dispatched = share * (after.rows - before.rows) * (row.values + row.scales);
    const traffic: StepTraffic = { dispatched, returned: bytes - dispatched };
    let { bitsPerSecond = FAST } = wire === "equal" ? {} : parseWire(wire);
    if (wire === "equal") setRate(inside.ends, (bitsPerSecond = (8000 * bytes) / alone.compute));
    const times = modes.map((): StepTimes[] => []);
    for (let round = 0; round < rounds; round++) {
      for (const [i, engine] of engines.entries()) times[i].push(await once(engine));
    }
    const [off, on, auto] = times;
    const told = await overlapFigures(name, off, on, traffic, bitsPerSecond, MOST_PARTS);
    const stepMs = Object.fromEntries(
      modes.map((mode, i) => [mode, median(times[i].map(({ step }) => step))]),
    );
    const autoGain = median(off.map(({ step }, round) => step / auto[round].step));
    const rate = { rows: alone.rows, mbps: bitsPerSecond / 1e6 };
    console.log(JSON.stringify({ name, ...rate, stepMs, autoGain, ...told }));
  }
  for (const engine of engines) await engine.close();
}

const given = process.env[INSIDE];
if (given === undefined) await runInside();
else await measure(JSON.parse(given) as Inside);
