#!/usr/bin/env node
/**
 * How machines add up: one node of one core against two of one core each in two network namespaces, one unit of
 * two ranks over TCP, for the same prompts and the same requests in all, in turns; beside what the probes of one
 * core and of two predict. For root, on Linux.
 *
 *   npm run bench:machines -- [shape] [layers] [rounds] [prompt] [requests] [context]
 *   by default v2-lite 8 6 512 64 512; two prompts, and so many requests in all.
 */
import { resolve } from "node:path";
import { byMultiplyKind, Probes } from "../../kernels/index.ts";
import { modelWeights, openCheckpoint, readConfig } from "../../model/index.ts";
import {
  cachedCheckpoint,
  roofOf,
  stepBytes,
  stepOperations,
  totalOperations,
} from "../model/index.ts";
import type { ShapeName, Speeds, Work } from "../model/index.ts";
import { median } from "../percentiles.ts";
import { givenNear, layLink, runAgainNear, type Link } from "./link.ts";
import { askedWork, MeasuredEngine, type AskedWork } from "./measured-engine.ts";
import type { StepTimes } from "./overlap-figures.ts";

const [shape = "v2-lite", ...counts] = process.argv.slice(2);
const [layers = 8, rounds = 6, prompt = 512, requests = 64, context = 512] = counts.map(Number);
const POLICY = "int8";
const PROMPTS = 2;
const PROBE_MS = 150;
/** Rounds before the first that counts: V8 compiles what is called often, on the ranks' cores. */
const WARM_UPS = 4;
/** Tokens of each request, but for the first. */
const DECODED = 24;

interface Inside extends Pick<Link, "address" | "far"> {
  readonly directory: string;
}

/** Of one core alone, and of both at once. */
type CoreSpeeds = readonly [one: Speeds, two: Speeds];

/** Lays the wire, and probes both cores when the program inside asks for it: that has only one. */
async function runInside(): Promise<never> {
  const directory = await cachedCheckpoint(shape as ShapeName, layers, POLICY);
  const link = layLink({ latencyMs: 0 });
  const file = resolve(directory, "model.safetensors");
  const probes = [1, 2].map(
    (threads) => new Probes({ threads, policy: POLICY, file, weights: "mapped" }),
  );
  // What comes from a disk is not what memory can do.
  for (const each of probes) each.readThrough();
  const probe = () =>
    probes.map((each): Speeds => ({
      readGBs: each.readBandwidth(PROBE_MS),
      peaks: each.multiplyPeaks(PROBE_MS),
    }));
  return runAgainNear(link, { directory, ...link } satisfies Inside, (child) =>
    child.on("message", () => child.send(probe())),
  );
}

async function askProbes(): Promise<CoreSpeeds> {
  const told = new Promise((heard) => process.once("message", heard));
  process.send?.("probe");
  return (await told) as CoreSpeeds;
}

/** What a step of so many rows reads and multiplies on each of some ranks, all experts being chosen. */
async function workOf(directory: string) {
  const config = await readConfig(directory);
  const weights = modelWeights(await openCheckpoint(directory, config.quantization), config);
  const bytes = stepBytes(config, weights, POLICY);
  const operations = stepOperations(config, weights, POLICY);
  const expertLayers = config.layers - config.firstDense;
  return ({ name }: AskedWork, rows: number, ranks: number): Work => {
    const [logits, pairs] = name === "decode" ? [rows, rows * context] : [1, (rows * rows) / 2];
    const tokens = name === "decode" ? rows * context : rows;
    return {
      bytes:
        bytes.dense +
        bytes.head +
        (config.gate.experts / ranks) * expertLayers * bytes.expert +
        tokens * config.layers * bytes.context,
      operations: totalOperations([
        [rows, operations.dense],
        [rows * config.gate.topK * expertLayers, operations.expert],
        [logits, operations.head],
        [pairs * config.layers, operations.pair],
      ]),
    };
  };
}

/** All ranks work at once: they share what the cores do. */
const milliseconds = ({ bytes, operations }: Work, ranks: number, speeds: Speeds) => {
  const all = {
    bytes: ranks * bytes,
    operations: byMultiplyKind((kind) => ranks * operations[kind]),
  };
  return roofOf(all, speeds).milliseconds;
};

/** A round on some nodes. */
interface Round {
  readonly times: StepTimes;
  readonly speeds: Speeds;
  readonly rowsPerSecond: number;
  /** What its probes allow. */
  readonly mostRowsPerSecond: number;
}

async function measure({ directory, ...link }: Inside): Promise<void> {
  const chunkRows = Math.max(prompt, 256);
  const options = { directory, policy: POLICY, chunkRows, overlap: "auto" } as const;
  const engines = [
    await MeasuredEngine.start(options),
    await MeasuredEngine.start({ ...options, link }),
  ];
  const sizes = { prompts: PROMPTS, prompt, requests, context, ranks: engines.length };
  const work = await workOf(directory);
  for (const asked of askedWork(engines[0].engine.vocabSize, { ...sizes, decoded: DECODED })) {
    for (const engine of engines) await engine.answer(asked.contexts, 1);
    const runs: Round[][] = engines.map(() => []);
    for (let round = -WARM_UPS; round < rounds; round++) {
      const prompts = asked.drawPrompts();
      const speeds = await askProbes();
      for (const [i, engine] of engines.entries()) {
        const nodes = i + 1;
        // A prompt is a step of a rank, and all requests are in one.
        const rows = asked.name === "prefill" ? prompt : requests / nodes;
        const times = await engine.run(prompts, asked.maxTokens, rows);
        const roof = milliseconds(work(asked, rows, nodes), nodes, speeds[i]);
        const [rowsPerSecond, mostRowsPerSecond] = [times.step, roof].map(
          (step) => (1000 * nodes * rows) / step,
        );
        const told = { times, speeds: speeds[i], rowsPerSecond, mostRowsPerSecond };
        if (round >= 0) runs[i].push(told);
      }
    }
    console.log(JSON.stringify({ name: asked.name, ...compare(runs), nodes: runs.map(figuresOf) }));
  }
  for (const engine of engines) await engine.close();
}

/** Medians of rounds: rows a second of two nodes ÷ one's, and the same by the probes; and that of each round. */
function compare([one, two]: readonly (readonly Round[])[]) {
  const gains = one.map(({ rowsPerSecond }, i) => two[i].rowsPerSecond / rowsPerSecond);
  const most = one.map((round, i) => two[i].mostRowsPerSecond / round.mostRowsPerSecond);
  const share = median(gains.map((gain, i) => gain / most[i]));
  return { gain: median(gains), predicted: median(most), share, gains };
}

function figuresOf(runs: readonly Round[]) {
  const of = (value: (round: Round) => number) => median(runs.map(value));
  return {
    stepMs: of(({ times }) => times.step),
    computeMs: of(({ times }) => times.compute),
    rowsPerSecond: of(({ rowsPerSecond }) => rowsPerSecond),
    readGBs: of(({ speeds }) => speeds.readGBs),
    int8GOPs: of(({ speeds }) => speeds.peaks.int8),
    parts: partsOf(runs.map(({ times }) => times)),
  };
}

/** Milliseconds of a step by what is computed, medians. */
function partsOf(times: readonly StepTimes[]) {
  const of = (kind: "attention" | "shared" | "experts" | "reduce") =>
    median(times.map(({ layers: all }) => all.reduce((sum, layer) => sum + layer[kind], 0)));
  return {
    ...{ attention: of("attention"), shared: of("shared"), experts: of("experts") },
    ...{ reduce: of("reduce"), rest: median(times.map(({ rest }) => rest)) },
  };
}

const given = givenNear() as Inside | undefined;
if (given === undefined) await runInside();
else await measure(given);
process.disconnect?.();
