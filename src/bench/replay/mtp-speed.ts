#!/usr/bin/env node
/**
 * `npm run bench:mtp -- [rounds] [folder]`: what speculation gains on calf, or on a checkpoint with its
 * tokenizer: sums with worked steps and stories, one request at a time and eight together, by
 * repeated context alone and with the MTP layer, in turns with none. The answers must be the same.
 */
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import {
  EngineCore,
  greedySampling,
  Repeats,
  Speculation,
  type Speculator,
  type StepComputer,
} from "../../engine/index.ts";
import { createKernels, usableCores } from "../../kernels/index.ts";
import { loadChatTemplate, loadModel, Tokenizer } from "../../model/index.ts";
import { median } from "../percentiles.ts";

const calf = fileURLToPath(new URL("../../../models/calf", import.meta.url));
const [rounds = "20", directory = calf] = process.argv.slice(2);
const GENERATED_TOKENS = 512;

const kernels = createKernels({ threads: usableCores() });
const withMtp = await loadModel(directory, { kernels, policy: "w8a16", maxRows: 512, mtp: true });
/** The same model and its stream, so that threads are placed alike; but nobody sees its MTP layer. */
const plain: StepComputer = {
  ...{ config: withMtp.config, maxRows: withMtp.maxRows, tracer: withMtp.tracer },
  createKvPool: (pages) => withMtp.createKvPool(pages),
  choose: (batch, pool, options) => withMtp.choose(batch, pool, options),
};
const tokenizer = await Tokenizer.load(directory);
const template = await loadChatTemplate(directory, tokenizer);
const { eosTokens } = plain.config;

const ask = (content: string, thinking: boolean) =>
  template.render([{ role: "user", content }], { thinking });
const sums = [
  [348, 275],
  [91, 46],
  [507, 328],
  [62, 89],
  [734, 158],
  [13, 77],
  [450, 361],
  [286, 640],
].map(([a, b]) => ask(`What is ${a} + ${b}?`, true));
const animals = ["fox", "bear", "hen", "mouse", "goat", "frog", "owl", "lamb"];
const story = (animal: string) =>
  tokenizer.encode(`Once upon a time, there was a little ${animal} who`, { specials: true });

interface Task {
  readonly name: string;
  readonly prompts: readonly (readonly number[])[];
  readonly temperature: number;
  /** Stories go on beyond the end of the text. */
  readonly stops: boolean;
}

const tasks: readonly Task[] = [
  { name: "sums", prompts: sums, temperature: 0, stops: true },
  { name: "stories", prompts: animals.map(story), temperature: 0, stops: false },
  {
    name: "stories, temperature 0.6",
    prompts: animals.map(story),
    ...{ temperature: 0.6, stops: false },
  },
];

interface Run {
  readonly tokens: readonly (readonly number[])[];
  /** After the prompts. */
  readonly milliseconds: number;
  readonly steps: number;
  readonly proposed: number;
  readonly accepted: number;
}

/** Generates the answers of prompts together. */
async function run(
  model: StepComputer,
  { temperature, stops }: Task,
  prompts: Task["prompts"],
  speculation?: Speculator,
): Promise<Run> {
  const core = new EngineCore({ model, pages: 160, ...(speculation && { speculation }) });
  for (const [handle, prompt] of prompts.entries()) {
    const sampling = { ...greedySampling, temperature, seed: handle };
    const stopTokens = stops ? eosTokens : [];
    const asked = { prompt, choice: 0, stopTokens, maxTokens: GENERATED_TOKENS, sampling };
    core.submit(handle, { id: "", tenant: "", ...asked });
  }
  const tokens = prompts.map((): number[] => []);
  await core.step();
  const began = performance.now();
  while (!core.idle) {
    for (const { handle, event } of await core.step()) {
      if (event.kind === "token") tokens[handle].push(event.token);
    }
  }
  const milliseconds = performance.now() - began;
  const { steps, proposedTokens: proposed, acceptedTokens: accepted } = core.stats;
  return { tokens, milliseconds, steps: steps - 1, proposed, accepted };
}

/** Each knows what steps cost, as a rank does that has been up for a while. */
const speculations = [plain, withMtp].map(
  ({ mtp }) =>
    new Speculation<{ readonly tokens: Uint32Array }>(
      () => new Repeats(),
      () => performance.now(),
      { drafts: mtp !== undefined },
    ),
);

const total = (runs: readonly Run[], of: (run: Run) => number) =>
  runs.reduce((sum, each) => sum + of(each), 0);

console.log(`${kernels.instructionSet}, ${usableCores()} threads, ${cpus()[0].model}`);
console.log("| task | together | by | speed | tokens a step | proposed | right |");
console.log("|---|---|---|---|---|---|---|");
for (const task of tasks) {
  for (const together of [1, task.prompts.length]) {
    const ratios: number[][] = [[], []];
    const runs: Run[][] = [[], []];
    for (let i = 0; i < Number(rounds) * task.prompts.length; i += together) {
      const first = i % task.prompts.length;
      const prompts = task.prompts.slice(first, first + together);
      const off = await run(plain, task, prompts);
      for (const [by, model] of [plain, withMtp].entries()) {
        const speculated = await run(model, task, prompts, speculations[by]);
        if (String(speculated.tokens) !== String(off.tokens)) throw new Error("the answer changed");
        ratios[by].push(off.milliseconds / speculated.milliseconds);
        runs[by].push(speculated);
      }
    }
    for (const [i, by] of ["repeats", "repeats and MTP"].entries()) {
      const generated = total(runs[i], ({ tokens }) => tokens.flat().length);
      const perStep = (generated / total(runs[i], ({ steps }) => steps)).toFixed(2);
      const [proposed, right] = (["proposed", "accepted"] as const).map((name) =>
        total(runs[i], (each) => each[name]),
      );
      const speed = `${median(ratios[i]).toFixed(3)}×`;
      const cells = [task.name, together, by, speed, perStep, proposed, right];
      console.log(`| ${cells.join(" | ")} |`);
    }
  }
}
