import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "cac";
import {
  cachedCheckpoint,
  climbLadder,
  drawLadder,
  packedFolderOf,
  type LadderLoad,
  type RungFigures,
  type UnitFigures,
} from "../bench/index.ts";
import { TraceWriter } from "../trace/index.ts";
import { bytesOf, integerOf, textOf } from "./arguments.ts";
import { bundledModel } from "./bundled-model.ts";
import { readTopology } from "./engine-options.ts";
import { modelFolderOf } from "./model-folder.ts";
import { linkOf } from "./node-options.ts";
import { packedOf, withPacked } from "./packed.ts";
import { formatOf, layersOf, shapeOf } from "./random-weights.ts";
import { servingPolicyHelp, servingPolicyOf } from "./serving-policy.ts";
import { table } from "./table.ts";

export function withLadder(command: Command): Command {
  return withPacked(command)
    .option("--model <dir>", "Checkpoint folder", { default: bundledModel })
    .option("--shape <name>", "Instead: random weights of a shape, as of daysix bench model")
    .option("--layers <count>", "Layers of that shape")
    .option("--format <format>", "Its linear weights", { default: "int8" })
    .option("--policy <policy>", servingPolicyHelp)
    .option("--topology <units>", "Units × ranks", { default: "prefill=1x2,decode=1x2" })
    .option("--nodes <count>", "Processes for the ranks", { default: 2 })
    .option("--link <wire>", "Wire between them, emulated", { default: "200us,1Gbps" })
    .option("--threads <count>", "Compute threads of each rank", { default: 1 })
    .option("--kv-memory <size>", "Memory for the KV cache of each rank", { default: "64M" })
    .option("--requests <count>", "Requests of a round, all at once", { default: 16 })
    .option("--prompt <tokens>", "Mean length of prompts", { default: 256 })
    .option("--answer <tokens>", "Mean length of answers", { default: 32 })
    .option("--chunk <rows>", "Rows of a step", { default: 256 })
    .option("--rounds <count>", "Measured rounds", { default: 3 })
    .option("--svg <file>", "Draw the ladder")
    .option("--trace <dir>", "Keep each rung's Chrome trace in a folder")
    .option("--json", "Print a line of JSON for each rung");
}

/** Five engines start side by side: a node may be held up for long. */
const PATIENCE_MS = 60_000;

/** `daysix ladder`: what each idea of the article is worth on this machine, one on top of the other. */
export async function runLadder(flags: Readonly<Record<string, unknown>>): Promise<void> {
  const whole = (name: string, most: number) => integerOf(name, flags[name], 1, most);
  const load: LadderLoad = {
    requests: whole("requests", 4096),
    prompt: whole("prompt", 2 ** 20),
    answer: whole("answer", 2 ** 20),
  };
  const modelDirectory = await modelOf(flags);
  const policy = await servingPolicyOf(flags["policy"], modelDirectory);
  const folder = flags["shape"] === undefined ? {} : { folder: packedFolderOf(modelDirectory) };
  const packed = await packedOf(flags, { modelDirectory, policy, ...folder });
  const count = whole("nodes", 65_536);
  const wire = linkOf(flags);
  const topology = textOf("topology", flags["topology"]);
  const rungs = await climbLadder({
    engine: {
      ...{ modelDirectory, packed, policy },
      topology: readTopology(topology),
      nodes: { count, wire, failureTimeoutMs: PATIENCE_MS },
      threads: whole("threads", 4096),
      chunkRows: whole("chunk", 65_536),
      kvMemoryBytes: bytesOf("kv-memory", flags["kvMemory"]),
    },
    load,
    rounds: whole("rounds", 1000),
    progress: (what) => console.error(`daysix: ${what}`),
    ...(await tracesOf(flags["trace"])),
  });
  const where = `${topology} on ${count} ${count === 1 ? "node" : "nodes"}`;
  const over = wire ? `, over ${textOf("link", flags["link"])}` : "";
  const title = `${load.requests} requests of ${load.prompt} + ${load.answer} tokens, ${where}${over}`;
  const { svg } = flags;
  if (svg !== undefined) await writeFile(textOf("svg", svg), drawLadder(rungs, title));
  if (flags["json"] === true) for (const rung of rungs) console.log(JSON.stringify(rung));
  else console.log(`${title}\n\n${describeRungs(rungs)}\n\n${describeUnits(rungs)}`);
}

async function modelOf(flags: Readonly<Record<string, unknown>>): Promise<string> {
  if (flags["shape"] === undefined) return modelFolderOf(textOf("model", flags["model"]));
  const shape = shapeOf(flags["shape"]);
  return cachedCheckpoint(shape, layersOf(flags["layers"], shape), formatOf(flags["format"]));
}

async function tracesOf(directory: unknown) {
  if (directory === undefined) return {};
  const folder = textOf("trace", directory);
  await mkdir(folder, { recursive: true });
  const traceOf = (rung: string) =>
    TraceWriter.create(
      join(folder, `${rung.replace(/^\+ /, "").replaceAll(" ", "-")}.json`),
      Date.now(),
    );
  return { traceOf };
}

function describeRungs(rungs: readonly RungFigures[]): string {
  const [first] = rungs;
  return table([
    ["", "seconds", "prompt tokens/s", "answer tokens/s", "×", "choices max/mean"],
    ...rungs.map((rung) => [
      rung.name,
      rung.seconds.toFixed(2),
      rung.promptTokensPerSecond.toFixed(0),
      rung.answerTokensPerSecond.toFixed(0),
      (first.seconds / rung.seconds).toFixed(2),
      rung.expertImbalance.toFixed(2),
    ]),
  ]);
}

function describeUnits(rungs: readonly RungFigures[]): string {
  const roles = rungs[0].units.map(({ role }) => role);
  const tables = roles.map((role, index) =>
    table([
      [
        ...[`${role}, a rank and step`, "rows", "sent", "on the wire", "weights read"],
        ...[
          "compute",
          "exposed",
          "covered",
          "neither",
          "cut in two",
          "experts max/mean",
          "work max/mean",
        ],
      ],
      ...rungs.map(({ name, units }) => [name, ...unitCells(units[index])]),
    ]),
  );
  return tables.join("\n\n");
}

function unitCells(unit: UnitFigures): string[] {
  return [
    unit.rowsPerStep.toFixed(1),
    kilobytes(unit.sentBytesPerStep),
    kilobytes(unit.wireBytesPerStep),
    `${(unit.weightBytesPerStep / 1e6).toFixed(1)} MB`,
    percent(unit.compute),
    percent(unit.exposed),
    unit.coveredShare === null ? "-" : percent(unit.coveredShare),
    percent(unit.idle),
    percent(unit.overlappedSteps),
    unit.receivedImbalance?.toFixed(2) ?? "-",
    unit.workImbalance.toFixed(2),
  ];
}

const kilobytes = (bytes: number) => `${(bytes / 1e3).toFixed(0)} kB`;
const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
