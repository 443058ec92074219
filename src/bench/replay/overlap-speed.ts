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
import { parseWire } from "../../cluster/index.ts";
import { MOST_PARTS } from "../../expert-parallel/index.ts";
import { operandRowBytes } from "../../kernels/index.ts";
import { readConfig } from "../../model/index.ts";
import { cachedCheckpoint, type ShapeName } from "../model/index.ts";
import { median } from "../percentiles.ts";
import { givenNear, layLink, runAgainNear, setRate, type Link } from "./link.ts";
import { askedWork, MeasuredEngine } from "./measured-engine.ts";
import { overlapFigures, type StepTimes, type StepTraffic } from "./overlap-figures.ts";

const [wire = "equal", shape = "v2-lite", ...counts] = process.argv.slice(2);
const [layers = 4, rounds = 8, prompt = 2048, requests = 64, context = 512] = counts.map(Number);
const FORMAT = "int8";
const POLICY = "int8";
const RANKS = 2;
/** Tokens of each request, but for the first. */
const DECODED = 6;
/** While no rate has been found. */
const FAST = 1e11;

interface Inside extends Pick<Link, "address" | "far" | "ends"> {
  readonly directory: string;
}

async function runInside(): Promise<never> {
  const directory = await cachedCheckpoint(shape as ShapeName, layers, FORMAT);
  const rate = wire === "equal" ? { latencyMs: 0, bitsPerSecond: FAST } : parseWire(wire);
  const link = layLink(rate);
  return runAgainNear(link, { directory, ...link } satisfies Inside);
}

const modes = ["off", "on", "auto"] as const;

async function measure(inside: Inside): Promise<void> {
  const engines: MeasuredEngine[] = [];
  const { directory } = inside;
  const chunkRows = Math.max(prompt, 256);
  for (const overlap of modes) {
    const options = { directory, policy: POLICY, chunkRows, overlap, link: inside } as const;
    engines.push(await MeasuredEngine.start(options));
  }
  const config = await readConfig(directory);
  const row = operandRowBytes({ format: "int8", columns: config.hiddenSize });
  const sizes = { prompts: RANKS, prompt, requests: RANKS * requests, context, ranks: RANKS };
  const { vocabSize } = engines[0].engine;
  for (const work of askedWork(vocabSize, { ...sizes, decoded: DECODED })) {
    const { name, maxTokens, drawPrompts } = work;
    const rows = name === "prefill" ? prompt : requests;
    const once = (engine: MeasuredEngine) => engine.run(drawPrompts(), maxTokens, rows);
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

const given = givenNear() as Inside | undefined;
if (given === undefined) await runInside();
else await measure(given);
process.disconnect?.();
