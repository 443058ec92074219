// DaySix beside node-llama-cpp on models of one shape, in turn: `npm start -- --help`.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { midModel } from "./mid-model.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const daysix = resolve(here, "../dist/cli/main.js");

const help = `npm start -- [options]
  --threads N   compute threads of each engine (default: all cores)
  --rounds N    turns of each engine (default: 3)
  --quick       prompts of 512 and batches of 1 and 8 only
  --json        a line of JSON for each measure`;

/** Runs a program of Node; its lines of JSON. */
async function linesOf(program, args) {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let out = "";
  child.stdout.on("data", (data) => (out += data));
  const [status, signal] = await once(child, "close");
  if (status !== 0) throw new Error(`${program} ended with ${signal ?? status}`);
  return out
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
}

async function runDaysix({ threads, prompts, batches, context, batchContext }) {
  const bench = (...args) =>
    linesOf(daysix, [
      "bench",
      "model",
      "--shape",
      "mid",
      "--threads",
      `${threads}`,
      "--json",
      ...args,
    ]);
  const several = batches.filter((batch) => batch > 1);
  const measured = [
    ...(await bench("--prompt", `${prompts}`, "--batch", "1", "--context", `${context}`)),
    ...(await bench("--prompt", "1", "--batch", `${several}`, "--context", `${batchContext}`)),
  ];
  return measured
    .filter(({ measure, prompt }) => measure === "decode" || prompts.includes(prompt))
    .map(({ measure, batch, prompt, context: behind, tokensPerSecond }) => ({
      measure: measure === "prefill" ? `prefill ${prompt}` : `decode ${batch} at ${behind}`,
      tokensPerSecond,
    }));
}

function optionsOf() {
  const { values } = parseArgs({
    options: {
      threads: { type: "string", default: `${availableParallelism()}` },
      rounds: { type: "string", default: "3" },
      quick: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  for (const name of ["threads", "rounds"]) {
    if (!/^[1-9]\d*$/.test(values[name])) {
      throw new RangeError(`--${name}: expected a positive whole number, got ${values[name]}`);
    }
  }
  return { ...values, threads: Number(values.threads), rounds: Number(values.rounds) };
}

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

async function main() {
  const options = optionsOf();
  if (options.help) return console.log(help);
  if (!existsSync(daysix))
    throw new Error(`${daysix} is not there: run npm ci in the folder above`);
  const { shapes } = await import("../dist/bench/index.js");
  const { nativeProblem } = await import("../dist/kernels/index.js");
  if (nativeProblem())
    throw new Error(`DaySix has no native kernels to compare: ${nativeProblem()}`);
  const plan = {
    threads: options.threads,
    prompts: options.quick ? [512] : [512, 2048],
    batches: options.quick ? [1, 8] : [1, 8, 32],
    ...{ context: 512, batchContext: 128 },
  };
  const model = await midModel(shapes.mid);
  const figures = new Map();
  let peer;
  for (let round = 0; round < options.rounds; round++) {
    for (const [engine, lines] of [
      ["daysix", await runDaysix(plan)],
      ["llama", await linesOf(join(here, "llama.mjs"), [model, JSON.stringify(plan)])],
    ]) {
      for (const line of lines) {
        if (line.version) peer = line;
        else {
          const of = figures.get(line.measure) ?? { daysix: [], llama: [] };
          of[engine].push(line.tokensPerSecond);
          figures.set(line.measure, of);
        }
      }
    }
  }
  await tell(figures, peer, model, options);
}

async function tell(figures, peer, model, { threads, rounds, json }) {
  const rows = [...figures].map(([measure, { daysix: ours, llama: theirs }]) => ({
    ...{ measure, threads, rounds },
    daysix: median(ours),
    nodeLlamaCpp: median(theirs),
    ratio: median(ours) / median(theirs),
  }));
  if (json) {
    for (const row of rows) console.log(JSON.stringify(row));
    return;
  }
  const { version } = createRequire(import.meta.url)("../package.json");
  const size = ((await stat(model)).size / 1e9).toFixed(2);
  console.log(
    `mid: DeepSeek-V3's graph, 1.9 billion parameters, random weights and tokens; ${threads} threads`,
  );
  console.log(
    `DaySix ${version}: FP8 e4m3, 128 x 128 scales, BF16 activations and KV (8.0 bits a linear weight)`,
  );
  console.log(
    `node-llama-cpp ${peer.version}: ${size} GB of Q8_0, W_UK and W_UV in BF16, F16 KV (8.5 bits)`,
  );
  console.log(`  ${peer.system.trim()}`);
  console.log(`tokens/s, median of ${rounds} turns each:\n`);
  console.log(
    `${"".padEnd(18)}${"DaySix".padStart(10)}${"node-llama-cpp".padStart(18)}${"ratio".padStart(8)}`,
  );
  for (const { measure, daysix: ours, nodeLlamaCpp, ratio } of rows) {
    const numbers = [
      ours.toFixed(1).padStart(10),
      nodeLlamaCpp.toFixed(1).padStart(18),
      ratio.toFixed(2).padStart(8),
    ];
    console.log(`${measure.padEnd(18)}${numbers.join("")}`);
  }
}

try {
  await main();
} catch (error) {
  console.error(`bench-peers: ${error.message}`);
  process.exitCode = 1;
}
