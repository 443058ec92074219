import { cpus } from "node:os";
import type { Command } from "cac";
import {
  cachedCheckpoint,
  packedFolderOf,
  checkpointCache,
  ModelBench,
  shapes,
  type Measured,
  type Workload,
} from "../bench/index.ts";
import { coresOfEach, multiplyKinds } from "../kernels/index.ts";
import { integerOf, integersOf, oneOf, policyOf, textOf, UsageError } from "./arguments.ts";
import { readTopology } from "./engine-options.ts";
import { checkpointFormats } from "../model/index.ts";
import { describeResident, weightsOf, withWeights } from "./weights.ts";
import { fastDecodeOf, withFastDecode } from "./fast-decode.ts";
import { packedOf, withPacked } from "./packed.ts";
import { formatOf, layersOf, shapeNames, shapeOf } from "./random-weights.ts";
import { servingPolicyHelp } from "./serving-policy.ts";
import { table } from "./table.ts";

export function withBenchModel(command: Command): Command {
  return withPacked(withFastDecode(withWeights(command)))
    .option("--shape <name>", `Sizes of the model: ${shapeNames.join(", ")}`, { default: "mid" })
    .option("--layers <count>", "Measure fewer layers, and say what all of them would take")
    .option("--format <format>", `Linear weights: ${checkpointFormats.join(", ")}`, {
      default: "fp8",
    })
    .option("--prompt <tokens>", "Prompts to compute; by default 512,2048")
    .option("--batch <requests>", "Requests of a rank that decode together", { default: "1,8,32" })
    .option("--context <tokens>", "Context of each of them, random KV; by default 512,4096")
    .option("--policy <policy>", servingPolicyHelp)
    .option("--threads <count>", "Compute threads of each rank; by default all cores together")
    .option("--topology <units>", "Ranks: combined=1x2", { default: "combined=1x1" })
    .option("--experts <how>", "parallel: over the ranks; replicated: all on each", {
      default: "parallel",
    })
    .option("--json", "Print a line of JSON for each measurement");
}

/** `daysix bench model`: how fast this machine computes a model, on random weights. */
export async function runBenchModel(flags: Readonly<Record<string, unknown>>): Promise<void> {
  const shape = shapeOf(flags["shape"]);
  const wholeLayers = shapes[shape].num_hidden_layers;
  const layers = layersOf(flags["layers"], shape);
  const ranks = ranksOf(textOf("topology", flags["topology"]));
  const threads =
    flags["threads"] === undefined
      ? coresOfEach(ranks)
      : integerOf("threads", flags["threads"], 1, 4096);
  const workloads = workloadsOf(flags, shapes[shape].max_position_embeddings);
  const format = formatOf(flags["format"]);
  const integers = format === "int8" || format === "int4";
  const policy = policyOf(flags["policy"] ?? (integers ? "int8" : "w8a16"));
  const weights = weightsOf(flags);
  const fastDecode = fastDecodeOf(flags);
  const experts = oneOf("experts", flags["experts"], ["parallel", "replicated"]);
  const json = flags["json"] === true;
  console.error(`daysix: random ${format} weights of ${shape} lie in ${checkpointCache}`);
  const directory = await cachedCheckpoint(shape, layers, format);
  const folder = packedFolderOf(directory);
  const packed = await packedOf(flags, { modelDirectory: directory, policy, folder });
  const bench = await ModelBench.open({
    ...{ directory, packed, policy, weights, fastDecode },
    ...{ experts, ranks, threads, wholeLayers, workloads },
  });
  tellInstructions(bench);
  if (weights === "resident") console.error(`daysix: ${describeResident()}`);
  const rows: string[][] = [];
  try {
    for (const workload of workloads) {
      const measured = await bench.measure(workload);
      if (json) console.log(JSON.stringify(measured));
      else rows.push(rowOf(measured));
    }
    if (ranks > 1) tellSharing(bench);
  } finally {
    await bench.close();
  }
  if (json) return;
  const extrapolates = layers < wholeLayers;
  console.log(table([extrapolates ? [...header, ...extrapolatedHeader] : header, ...rows]));
  if (extrapolates) {
    console.log(`measured ${layers} of ${wholeLayers} layers; "whole" is extrapolated`);
  }
}

const header = [
  ...["", "tokens/s", "ms p20", "ms median", "GB/step", "read GB/s"],
  ...multiplyKinds.map((kind) => `${kind.toUpperCase()} GOP/s`),
  ...["of roof", "peak GB"],
];
const extrapolatedHeader = ["ms/layer", "of roof", "whole tokens/s"];

function rowOf(measured: Measured): string[] {
  const { measure, batch, prompt, context, extrapolated } = measured;
  return [
    measure === "prefill" ? `prefill ${prompt}` : `decode ${batch} at ${context}`,
    measured.tokensPerSecond.toFixed(1),
    measured.p20.toFixed(2),
    measured.median.toFixed(2),
    (measured.bytesPerStep / 1e9).toPrecision(3),
    measured.readGBs.toFixed(1),
    ...multiplyKinds.map((kind) => measured.peaks[kind].toFixed(0)),
    `${percent(measured.roofShare)} ${boundNames[measured.bound]}`,
    (measured.peakRssBytes / 1e9).toFixed(1),
    ...(extrapolated
      ? [
          extrapolated.layerMedian.toFixed(2),
          percent(extrapolated.layerRoofShare),
          extrapolated.tokensPerSecond.toFixed(2),
        ]
      : []),
  ];
}

/** A roof is that of reading bytes or that of arithmetic. */
const boundNames = { read: "read", arithmetic: "arith" };

/** What probed peaks are those of. */
function tellInstructions(bench: ModelBench): void {
  const peaks = multiplyKinds.map((kind) => `${kind.toUpperCase()} by ${bench.instructions[kind]}`);
  console.error(`daysix: ${cpus()[0]?.model ?? "an unknown processor"}; ${peaks.join(", ")}`);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** Whether ranks that read the same experts gain by it. */
function tellSharing(bench: ModelBench): void {
  const { same, different } = bench.probeSharing();
  console.error(
    `daysix: threads that read the same bytes get ${same.toFixed(1)} GB/s together, ` +
      `${different.toFixed(1)} GB/s where each reads others`,
  );
}

function ranksOf(text: string): number {
  const topology = readTopology(text);
  const [{ role }, ...others] = topology.units;
  if (role === "combined" && others.length === 0) return topology.ranks;
  throw new UsageError(`--topology: expected combined=1x1 or one unit of more ranks, got ${text}`);
}

function workloadsOf(flags: Readonly<Record<string, unknown>>, longest: number): Workload[] {
  const prompts = lengthsOf("prompt", flags["prompt"] ?? [512, 2048], longest);
  const contexts = lengthsOf("context", flags["context"] ?? [512, 4096], longest);
  const batches = integersOf("batch", flags["batch"], 1, 4096);
  return [
    ...prompts.map((prompt): Workload => ({ measure: "prefill", prompt })),
    ...contexts.flatMap((context) =>
      batches.map((batch): Workload => ({ measure: "decode", batch, context })),
    ),
  ];
}

/** What was asked for, which has to fit the model, or of the usual lengths those that do. */
function lengthsOf(option: string, value: unknown, longest: number): number[] {
  if (!Array.isArray(value)) return integersOf(option, value, 1, longest);
  return (value as number[]).filter((length) => length <= longest);
}
