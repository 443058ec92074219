#!/usr/bin/env node
/**
 * What overlap hides of a link's time: two nodes of one core each, in two network namespaces joined by a
 * wire of a given rate, one unit of two ranks. Steps with and without overlap are measured in turns. For
 * root, on Linux.
 *
 *   npm run bench:overlap -- [wire] [shape] [layers] [prompt] [rounds]
 *   by default 1Gbps v2-lite 4 2048 8
 */
import { spawn, type ChildProcess } from "node:child_process";
import { writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { clusterSecret, generateSecret, parseTopology, parseWire } from "../../cluster/index.ts";
import { Engine, greedySampling, type OverlapMode } from "../../engine/index.ts";
import { randomSource } from "../../kernels/index.ts";
import { cachedCheckpoint, type ShapeName } from "../model/index.ts";
import { median } from "../percentiles.ts";
import { layLink } from "./link.ts";

const [wire = "1Gbps", shape = "v2-lite", layers = "4", prompt = "2048", rounds = "8"] =
  process.argv.slice(2);
const FORMAT = "int8";
const POLICY = "int8";
const RANKS = 2;
const DECODING = 64;
const DECODED_TOKENS = 16;
const DECODE_PROMPT = 64;
const INSIDE = "DAYSIX_BENCH_LINK";

const main = fileURLToPath(new URL("../../cli/main.js", import.meta.url));

/** Runs this program again inside the near namespace. */
async function runInside(): Promise<never> {
  const directory = await cachedCheckpoint(shape as ShapeName, Number(layers), FORMAT);
  const link = layLink(parseWire(wire));
  const [program, ...words] = [...link.near, "taskset", "-c", "0", ...process.argv];
  const inside = JSON.stringify({ directory, address: link.address, far: link.far });
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

interface Inside {
  readonly directory: string;
  readonly address: string;
  readonly far: readonly string[];
}

async function startEngine({ directory, address, far }: Inside, overlap: OverlapMode) {
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
  const engine = await Engine.start({
    ...{ modelDirectory: directory, policy: POLICY, overlap, kvMemoryBytes: 2 ** 28 },
    ...{ chunkRows: Number(prompt), topology: parseTopology(`combined=1x${RANKS}`) },
    nodes: { count: 2, await: awaited },
  });
  const close = async () => {
    await engine.close();
    node?.kill();
    rmSync(folder, { recursive: true });
  };
  return { engine, close };
}

const draw = randomSource(5);

/** Seconds until all of so many requests are answered. */
async function answer(engine: Engine, requests: number, promptTokens: number, maxTokens: number) {
  const began = performance.now();
  const ask = async (id: number) => {
    const tokens = Array.from({ length: promptTokens }, () =>
      Math.floor(draw() * engine.vocabSize),
    );
    const asked = { id: `${id}`, tenant: "", prompt: tokens, choice: 0, stopTokens: [], maxTokens };
    for await (const event of engine.generate({ ...asked, sampling: greedySampling })) {
      if (event.kind === "failed") throw new Error(event.message);
    }
  };
  await Promise.all(Array.from({ length: requests }, (_, id) => ask(id)));
  return (performance.now() - began) / 1000;
}

const workloads = {
  prefill: (engine: Engine) => answer(engine, RANKS, Number(prompt), 1),
  decode: async (engine: Engine) => {
    const alone = await answer(engine, DECODING, DECODE_PROMPT, 1);
    return (await answer(engine, DECODING, DECODE_PROMPT, 1 + DECODED_TOKENS)) - alone;
  },
};

async function measure(inside: Inside): Promise<void> {
  const modes = ["off", "on", "auto"] as const;
  const engines = [];
  for (const mode of modes) engines.push(await startEngine(inside, mode));
  for (const [name, work] of Object.entries(workloads)) {
    const seconds = engines.map((): number[] => []);
    for (const { engine } of engines) await work(engine);
    for (let round = 0; round < Number(rounds); round++) {
      for (const [i, { engine }] of engines.entries()) seconds[i].push(await work(engine));
    }
    const medians = seconds.map((each) => median(each));
    const told = Object.fromEntries(modes.map((mode, i) => [mode, Number(medians[i].toFixed(3))]));
    const gains = seconds.map((each) => median(each.map((time, i) => seconds[0][i] / time)));
    console.log(
      JSON.stringify({ name, wire, seconds: told, gain: { on: gains[1], auto: gains[2] } }),
    );
  }
  for (const { close } of engines) await close();
}

const given = process.env[INSIDE];
if (given === undefined) await runInside();
else await measure(JSON.parse(given) as Inside);
