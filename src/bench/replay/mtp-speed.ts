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
const PAGES = 160;

const kernels = createKernels({ threads: usableCores() });
const withMtp = await loadModel(directory, { kernels, policy: "w8a16", maxRows: 512, mtp: true });
/** One for all runs, since memory that is new, and taken back, takes time. */
const pool = withMtp.createKvPool(PAGES);
/** The same model and its stream, so that threads are placed alike; but nobody sees its MTP layer. */
const plain: StepComputer = {
  ...{ config: withMtp.config, maxRows: withMtp.maxRows, tracer: withMtp.tracer },
  createKvPool: () => pool,
  choose: (batch, kv, options) => withMtp.choose(batch, kv, options),
};
const drafting: StepComputer = { ...plain, mtp: withMtp.mtp };
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

/** Generates the answers of prompts, so many together, on a rank that stays up. */
async function run(
  model: StepComputer,
  { temperature, stops }: Task,
  { prompts, together }: { readonly prompts: Task["prompts"]; readonly together: number },
  speculation?: Speculator,
): Promise<Run> {
  const core = new EngineCore({ model, pages: PAGES, ...(speculation && { speculation }) });
  const tokens = prompts.map((): number[] => []);
  let [milliseconds, promptSteps] = [0, 0];
  for (let first = 0; first < prompts.length; first += together, promptSteps++) {
    for (const [i, prompt] of prompts.slice(first, first + together).entries()) {
      const sampling = { ...greedySampling, temperature, seed: first + i };
      const stopTokens = stops ? eosTokens : [];
      const asked = { prompt, choice: 0, stopTokens, maxTokens: GENERATED_TOKENS, sampling };
      core.submit(first + i, { id: "", tenant: "", ...asked });
    }
    await core.step();
    const began = performance.now();
    while (!core.idle) {
      for (const { handle, event } of await core.step()) {
        if (event.kind === "token") tokens[handle].push(event.token);
      }
    }
    milliseconds += performance.now() - began;
  }
  const { steps, proposedTokens: proposed, acceptedTokens: accepted } = core.stats;
  return { tokens, milliseconds, steps: steps - promptSteps, proposed, accepted };
}

/** Each knows what steps cost, as a rank does that has been up for a while. */
const speculations = [plain, drafting].map(
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
    // Answers that stop are short: all of them are one measurement.
    const size = task.stops ? task.prompts.length : together;
    const ratios: number[][] = [[], []];
    const runs: Run[][] = [[], []];
    for (let i = 0; i < Number(rounds) * task.prompts.length; i += size) {
      const first = i % task.prompts.length;
      const asked = { prompts: task.prompts.slice(first, first + size), together };
      const ways = [
        () => run(plain, task, asked),
        () => run(plain, task, asked, speculations[0]),
        () => run(drafting, task, asked, speculations[1]),
      ];
      // Each is the first in turn: what comes later may find the machine in another state.
      const turn = (i / size) % ways.length;
      const results: Run[] = [];
      for (const way of [...ways.keys()].map((at) => (at + turn) % ways.length)) {
        results[way] = await ways[way]();
      }
      const [off, ...speculated] = results;
      for (const [by, each] of speculated.entries()) {
        if (String(each.tokens) !== String(off.tokens)) throw new Error("the answer changed");
        ratios[by].push(off.milliseconds / each.milliseconds);
        runs[by].push(each);
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
