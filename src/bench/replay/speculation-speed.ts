#!/usr/bin/env node
/**
 * `npm run bench:speculation -- [shape] [layers] [rounds]`: what speculation gains where guesses are
 * right by chance, one request behind 512 random tokens, its answer known beforehand. Each chance
 * is measured with speculation and without in turns; the last line is of a chance that collapses
 * from 90 % to nothing midway. By default the bundled model's shape, all its layers, 20 rounds.
 */
import { cpus } from "node:os";
import {
  EngineCore,
  greedySampling,
  Speculation,
  type Speculator,
  type StepComputer,
} from "../../engine/index.ts";
import { createKernels, randomSource, usableCores } from "../../kernels/index.ts";
import { loadModel } from "../../model/index.ts";
import { cachedCheckpoint, shapes, type ShapeName } from "../model/index.ts";
import { median } from "../percentiles.ts";

const [shape = "calf", layers, rounds = "20"] = process.argv.slice(2);
const PROMPT_TOKENS = 512;
const GENERATED_TOKENS = 512;
const PAGES = 32;
const CHANCES = [() => 0, () => 0.5, () => 0.7, () => 0.9, collapsing];

function collapsing(generated: number): number {
  return generated < GENERATED_TOKENS / 2 ? 0.9 : 0;
}

const name = shape as ShapeName;
const measured = Number(layers ?? shapes[name].num_hidden_layers);
const directory = await cachedCheckpoint(name, measured, "fp8");
const kernels = createKernels({ threads: usableCores() });
const model = await loadModel(directory, { kernels, policy: "w8a16", maxRows: PROMPT_TOKENS });
const { vocabSize } = model.config;
/** One for all runs, since memory that is new, and taken back, takes time. */
const pool = model.createKvPool(PAGES);
const computer: StepComputer = {
  ...{ config: model.config, maxRows: model.maxRows, tracer: model.tracer },
  createKvPool: () => pool,
  choose: (batch, kv, options) => model.choose(batch, kv, options),
};
const draw = randomSource(3);
const prompt = Array.from({ length: PROMPT_TOKENS }, () => Math.floor(draw() * vocabSize));

/** Generates the answer; its tokens, milliseconds a token after the first, and what was proposed. */
async function run(speculation?: Speculator) {
  const core = new EngineCore({
    model: computer,
    pages: PAGES,
    ...(speculation && { speculation }),
  });
  core.submit(0, {
    ...{ id: "", tenant: "", prompt, choice: 0, stopTokens: [] },
    ...{ maxTokens: GENERATED_TOKENS, sampling: greedySampling },
  });
  const tokens: number[] = [];
  let first = 0;
  while (!core.idle) {
    for (const { event } of await core.step()) if (event.kind === "token") tokens.push(event.token);
    first ||= tokens.length > 0 ? performance.now() : 0;
  }
  const { proposedTokens: proposed, acceptedTokens: accepted } = core.stats;
  return { tokens, each: (performance.now() - first) / (GENERATED_TOKENS - 1), proposed, accepted };
}

const { tokens: answer } = await run();
/** Pairs of runs before the first that counts: V8 compiles what is called often. */
const WARM_UPS = 6;

/** Guesses the answer, each token right by chance; the same guess for the same place. */
function oracle(chanceAt: (generated: number) => number, seed: number): Speculator {
  const random = randomSource(seed);
  const isRight = answer.map((_, i) => random() < chanceAt(i));
  const propose = (tokens: Uint32Array, most: number) => {
    const from = tokens.length - PROMPT_TOKENS;
    return answer
      .slice(from, from + most)
      .map((token, i) => (isRight[from + i] ? token : (token + 1) % vocabSize));
  };
  return new Speculation(
    () => ({ propose }),
    () => performance.now(),
  );
}

console.log(
  `${shape}, ${model.config.layers} layers, ${kernels.instructionSet}, ${cpus()[0].model}`,
);
for (let i = 0; i < WARM_UPS; i++) {
  await run(oracle(collapsing, i));
  await run();
}
for (const [i, chanceAt] of CHANCES.entries()) {
  const ratios: number[] = [];
  const sums = { proposed: 0, accepted: 0 };
  for (let round = 0; round < Number(rounds); round++) {
    // Each is the first in turn: what comes later may find the machine in another state.
    const before = round % 2 === 0 ? await run() : undefined;
    const speculated = await run(oracle(chanceAt, 100 * i + round));
    const plain = before ?? (await run());
    if (speculated.tokens.join() !== answer.join()) throw new Error("the answer changed");
    ratios.push(plain.each / speculated.each);
    sums.proposed += speculated.proposed;
    sums.accepted += speculated.accepted;
  }
  const chance = chanceAt === collapsing ? "90 % then 0" : `${100 * chanceAt(0)} %`;
  const proposed = (sums.proposed / ratios.length).toFixed(0);
  const accepted = (sums.accepted / ratios.length).toFixed(0);
  console.log(
    `right ${chance}: ${median(ratios).toFixed(3)}×, ${proposed} proposed, ${accepted} right`,
  );
}
