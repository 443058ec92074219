#!/usr/bin/env node
/**
 * `npm run bench:masks -- [streams] [rounds]`: what it costs to hold answers to a schema. So many streams
 * of calf at a time, of 256 tokens each at temperature 1.5, free and held to schemas, in turns; the
 * ratio of their tokens a second in each turn, and the first turn apart, in which masks are new.
 */
import { fileURLToPath } from "node:url";
import { Engine } from "../../engine/index.ts";
import { Gateway, serveGateway, TextWorker } from "../../gateway/index.ts";
import { median } from "../percentiles.ts";

const [streams = "32", rounds = "8"] = process.argv.slice(2);
const TOKENS = 256;

const modelDirectory = fileURLToPath(new URL("../../../models/calf", import.meta.url));
const text = await TextWorker.start(modelDirectory);
const engine = await Engine.start({ modelDirectory, policy: "w8a16", kvMemoryBytes: 2 ** 29 });
const gateway = new Gateway({ models: [{ engine, text, names: ["calf"] }] });
const server = await serveGateway(gateway, { host: "127.0.0.1", port: 0 });
const url = `http://127.0.0.1:${server.address.port}/v1/completions`;

/** Lists that are too long to come to an end. */
const schemas = [
  { name: { type: "string", maxLength: 20 }, age: { type: "integer", minimum: 0, maximum: 120 } },
  { kind: { enum: ["cat", "dog", "bird"] }, weight: { type: "number" }, wild: { type: "boolean" } },
  {
    words: { type: "array", items: { type: "string" }, maxItems: 4 },
    note: { type: ["string", "null"] },
  },
  {
    date: { type: "string", pattern: "^\\d{4}-\\d\\d-\\d\\d$" },
    at: { type: "string", minLength: 3 },
  },
].map((properties) => ({
  ...{ type: "array", minItems: 200 },
  items: {
    ...{ type: "object", properties, additionalProperties: false },
    required: Object.keys(properties),
  },
}));

interface Run {
  /** Of all streams. */
  readonly tokensPerSecond: number;
  /** Milliseconds of processor time for each token, of ranks and gateway. */
  readonly cpu: number;
}

async function run(round: number, fields: (stream: number) => object): Promise<Run> {
  const began = performance.now();
  const before = process.cpuUsage();
  const answers = Array.from({ length: Number(streams) }, async (_, stream) => {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        ...{
          model: "calf",
          prompt: `Question ${round * 100 + stream}: what is it?`,
          seed: stream + round,
        },
        ...{ temperature: 1.5, max_tokens: TOKENS, ...fields(stream) },
      }),
    });
    if (response.status !== 200) throw new Error(await response.text());
    const { usage } = (await response.json()) as { usage: { completion_tokens: number } };
    return usage.completion_tokens;
  });
  const tokens = (await Promise.all(answers)).reduce((sum, each) => sum + each, 0);
  const { user, system } = process.cpuUsage(before);
  return {
    tokensPerSecond: (1000 * tokens) / (performance.now() - began),
    cpu: (user + system) / 1000 / tokens,
  };
}

const free = (round: number) => run(round, () => ({ ignore_eos: true }));
const held = (round: number) =>
  run(round, (stream) => ({ guided_json: schemas[stream % schemas.length] }));

await free(-1);
const runs = { free: [] as Run[], held: [] as Run[] };
for (let round = 0; round < Number(rounds); round++) {
  runs.free.push(await free(round));
  runs.held.push(await held(round));
  const [one, other] = [runs.free[round], runs.held[round]];
  const told = ({ tokensPerSecond, cpu }: Run) =>
    `${tokensPerSecond.toFixed(0)} tokens/s at ${cpu.toFixed(3)} ms of processor`;
  console.log(`free ${told(one)}, held ${told(other)}`);
}
// In the first round masks are new; on a machine that others use processor time tells more than the clock.
const ratioOf = (figure: keyof Run) =>
  median(runs.held.map((each, round) => each[figure] / runs.free[round][figure]).slice(1));
const best = (of: readonly Run[]) =>
  Math.max(...of.slice(1).map(({ tokensPerSecond }) => tokensPerSecond));
console.log(
  `${streams} streams, held of free: tokens/s ${ratioOf("tokensPerSecond").toFixed(3)} (median), ` +
    `${(best(runs.held) / best(runs.free)).toFixed(3)} (best of each), processor ${ratioOf("cpu").toFixed(3)}`,
);
await server.close();
await engine.close();
await text.close();
