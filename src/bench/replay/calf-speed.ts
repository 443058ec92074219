#!/usr/bin/env node
/**
 * `npm run bench:calf`: the bundled model's speed on this machine's kernels, one request
 * on one rank: prefill of 512 tokens, then decode behind them. Prints the median and the best of
 * five.
 */
import { fileURLToPath } from "node:url";
import { Engine, greedySampling } from "../../engine/index.ts";

const PROMPT_TOKENS = 512;
const GENERATED_TOKENS = 100;
const RUNS = 5;

const engine = await Engine.start({
  modelDirectory: fileURLToPath(new URL("../../../models/calf", import.meta.url)),
  policy: "w8a16",
  kvMemoryBytes: 2 ** 28,
});

/** Milliseconds to the first token, and of each later one on average. */
async function measure(run: number): Promise<{ first: number; next: number }> {
  const prompt = Array.from({ length: PROMPT_TOKENS }, (_, i) => 16 + ((i * 37 + run * 11) % 4000));
  const began = performance.now();
  const at: number[] = [];
  for await (const event of engine.generate({
    ...{ id: "", tenant: `${run}`, prompt, choice: 0, stopTokens: [] },
    maxTokens: GENERATED_TOKENS,
    sampling: greedySampling,
  })) {
    if (event.kind === "token") at.push(performance.now());
  }
  return { first: at[0] - began, next: (at[at.length - 1] - at[0]) / (at.length - 1) };
}

const tell = (what: string, rates: number[]) => {
  const sorted = rates.toSorted((a, b) => a - b);
  const [median, best] = [sorted[Math.floor(sorted.length / 2)], sorted[sorted.length - 1]];
  console.log(`${what}: median ${median.toFixed(1)}, best ${best.toFixed(1)} tokens/s`);
};

await measure(-1);
const alone = [];
for (let run = 0; run < RUNS; run++) alone.push(await measure(run));
tell(
  `prefill of ${PROMPT_TOKENS}`,
  alone.map(({ first }) => (1000 * PROMPT_TOKENS) / first),
);
tell(
  "decode, one request",
  alone.map(({ next }) => 1000 / next),
);
await engine.close();
