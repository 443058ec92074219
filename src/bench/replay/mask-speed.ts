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
const gateway = new Gateway({ engine, text, servedNames: ["calf"] });
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

/** Tokens a second of all streams. */
async function run(round: number, fields: (stream: number) => object): Promise<number> {
  const began = performance.now();
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
  return (1000 * tokens) / (performance.now() - began);
}

const free = (round: number) => run(round, () => ({ ignore_eos: true }));
const held = (round: number) =>
  run(round, (stream) => ({ guided_json: schemas[stream % schemas.length] }));

await free(-1);
const rates = { free: [] as number[], held: [] as number[] };
for (let round = 0; round < Number(rounds); round++) {
  rates.free.push(await free(round));
  rates.held.push(await held(round));
  const [one, other] = [rates.free[round], rates.held[round]];
  console.log(
    `${one.toFixed(0)} tokens/s free, ${other.toFixed(0)} held: ${(other / one).toFixed(3)}`,
  );
}
// In the first round masks are new; on a machine that others use the best rounds tell most.
const ratios = rates.held.map((rate, round) => rate / rates.free[round]).slice(1);
const best = Math.max(...rates.held.slice(1)) / Math.max(...rates.free.slice(1));
console.log(
  `${streams} streams, held of free: median ${median(ratios).toFixed(3)}, best of each ${best.toFixed(3)}`,
);
await server.close();
await engine.close();
await text.close();
