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
import { byMultiplyKind, Probes, type ByMultiplyKind } from "../../kernels/index.ts";
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

const speedsOf = (all: readonly Speeds[]): Speeds => ({
  readGBs: median(all.map(({ readGBs }) => readGBs)),
  peaks: byMultiplyKind((kind) =>
    median(all.map(({ peaks }: { peaks: ByMultiplyKind<number> }) => peaks[kind])),
  ),
});

async function measure({ directory, ...link }: Inside): Promise<void> {
  const chunkRows = Math.max(prompt, 256);
  const options = { directory, policy: POLICY, chunkRows, overlap: "auto" } as const;
  const engines = [
    await MeasuredEngine.start(options),
    await MeasuredEngine.start({ ...options, link }),
  ] as const;
  const work = await workOf(directory);
  const { vocabSize } = engines[0].engine;
  const ranks = engines.length;
  for (const asked of askedWork(vocabSize, {
    prompts: PROMPTS,
    prompt,
    requests,
    context,
    ranks,
  })) {
    const { name, contexts, drawPrompts, maxTokens } = asked;
    /** Of a rank in a step: a prompt is a step, and all requests are of one. */
    const rows = (nodes: number) => (name === "prefill" ? prompt : requests / nodes);
    const times: [StepTimes[], StepTimes[]] = [[], []];
    const probed: [Speeds[], Speeds[]] = [[], []];
    for (let round = -1; round < rounds; round++) {
      const prompts = drawPrompts();
      const speeds = await askProbes();
      for (const [i, engine] of engines.entries()) {
        if (round < 0) await engine.answer(contexts, 1);
        const told = await engine.run(prompts, maxTokens, rows(i + 1));
        if (round < 0) continue;
        times[i].push(told);
        probed[i].push(speeds[i]);
      }
    }
    const told = engines.map((_, i) => {
      const roof = milliseconds(work(asked, rows(i + 1), i + 1), i + 1, speedsOf(probed[i]));
      const [stepMs, computeMs] = [
        median(times[i].map(({ step }) => step)),
        median(times[i].map(({ compute }) => compute)),
      ];
      const rowsPerSecond = (1000 * rows(i + 1) * (i + 1)) / stepMs;
      return {
        stepMs,
        computeMs,
        rowsPerSecond,
        roof,
        speeds: speedsOf(probed[i]),
        parts: partsOf(times[i]),
      };
    });
    const gain = told[1].rowsPerSecond / told[0].rowsPerSecond;
    const perRow = told.map(({ roof }, i) => roof / rows(i + 1) / (i + 1));
    console.log(
      JSON.stringify({ name, gain, predicted: perRow[0] / perRow[1], told }, undefined, 1),
    );
  }
  for (const engine of engines) await engine.close();
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
