import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../../cluster/fixtures.ts";
import { allows, greedySampling, randomSource } from "../../kernels/index.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import { readConfig, type ModelConfig } from "../../model/index.ts";
import type { AskedRequest, TimedEvent } from "../messages.ts";
import type { Speculator } from "../rank/core-options.ts";
import type { Sequence } from "../rank/sequence.ts";
import { Repeats, Speculation } from "../speculation/index.ts";
import { contextModel, inVirtualTime } from "./context-model-fixtures.ts";
import { answer, request, untimed } from "./fixtures.ts";
import { maskOf, masksAfter, type FollowedTokens } from "./mask-fixtures.ts";
import { openVirtual, runClock } from "./virtual-fixtures.ts";

const VOCABULARY = 24;
const [{ directory }] = tinyFixtures().filter(({ name }) => name === "v3");
const config: ModelConfig = {
  ...(await readConfig(directory)),
  ...{ maxPositions: 1024, vocabSize: VOCABULARY },
};

/** After a third of tokens only the next number may come, after others a third of all. */
const maskAfter = (token: number) =>
  maskOf(VOCABULARY, (next) =>
    [2, 3].includes(token % 6) ? next === token + 1 : next % 3 === (token + 1) % 3,
  );
const prompt = [4, 8, 15, 16, 23];
const asked: AskedRequest[] = [
  { ...greedySampling },
  { ...greedySampling, temperature: 0.8, topK: 5, seed: 9 },
  { ...greedySampling, temperature: 1.3, topP: 0.9, frequencyPenalty: 0.2, seed: 4 },
].map((sampling, i) => ({
  ...request([...prompt, i], { maxTokens: 120, sampling }),
  ...{ topLogprobs: 2, mask: maskAfter(i) },
}));

/** What is told of constrained answers, and what computing them took. */
async function run(
  topology: string,
  speculates: "off" | "repeats" | Speculator,
  masks: (clock: ManualClock) => FollowedTokens = () => ({}),
) {
  const clock = new ManualClock();
  const { engine, ranks } = await openVirtual({
    ...{ topology, config, clock, stepRows: 64, linkMs: () => 1 },
    core: () => ({
      model: inVirtualTime(contextModel(config, 64), async ({ rows }) => {
        await new Promise<void>((resolve) => clock.after(5 + 0.1 * rows, resolve));
      }),
      pages: 60,
      ...(speculates !== "off" && {
        speculation:
          speculates === "repeats"
            ? new Speculation(
                () => new Repeats(),
                () => clock.now(),
              )
            : speculates,
      }),
    }),
  });
  const told = asked.map(async (one) => {
    const events: TimedEvent[] = [];
    const source = masksAfter(maskAfter, masks(clock));
    for await (const event of engine.generate(one, undefined, source)) events.push(event);
    return events;
  });
  await runClock(clock);
  const answers = (await Promise.all(told)).map((events) => answer(untimed(events)));
  const stats = ranks.cores.map((core) => core.stats);
  const sum = (of: "steps" | "proposedTokens" | "acceptedTokens") =>
    stats.reduce((total, each) => total + each[of], 0);
  await ranks.close();
  return {
    answers,
    steps: sum("steps"),
    proposed: sum("proposedTokens"),
    accepted: sum("acceptedTokens"),
  };
}

const plain = await run("combined=1x1", "off");

/** What was chosen, without what is told of how. */
const tokensOf = (events: (typeof plain.answers)[number]) =>
  events.flatMap((event) => (event.kind === "token" ? [event.token] : []));

test("constrained answers are the same with guesses as without, in fewer steps", async () => {
  for (const [i, tokens] of plain.answers.map(tokensOf).entries()) {
    assert.equal(tokens.length, 120);
    assert.ok(tokens.every((token, at) => allows(maskAfter(tokens[at - 1] ?? i), token)));
  }
  for (const topology of ["combined=1x1", "prefill=1x1,decode=1x1"]) {
    const guessed = await run(topology, "repeats");
    assert.deepEqual(guessed.answers, plain.answers, topology);
    assert.ok(guessed.accepted > 30, `${guessed.accepted} guesses stood`);
    assert.ok(guessed.steps < 0.9 * plain.steps, `${guessed.steps} of ${plain.steps} steps`);
  }
});

test("what may follow guesses may be known late, in part or not at all", async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const random = randomSource(seed);
    const guessed = await run("combined=1x1", "repeats", (clock) => ({
      ...(seed % 2 === 0 && {
        wait: () => new Promise<void>((resolve) => clock.after(8 * random(), resolve)),
      }),
      knows: () => random() < seed / 6,
    }));
    assert.deepEqual(guessed.answers, plain.answers, `seed ${seed}`);
    assert.ok(guessed.proposed > 0);
  }
});

/** Proposes what comes, and every so often something else. */
function knowing(wrongEvery: number, from = plain.answers.map(tokensOf)): Speculator {
  let proposals = 0;
  const propose = ({ request: { prompt: own }, tokens }: Sequence) =>
    from[own[prompt.length]]
      .slice(tokens.length - own.length)
      .slice(0, 4)
      .map((token) => (++proposals % wrongEvery === 0 ? (token + 1) % VOCABULARY : token));
  return {
    propose: (sequences) => sequences.map(propose),
    ...{ endPass: () => undefined, learn: () => undefined, endStep: () => undefined },
  };
}

test("right guesses stand from the first step on, and those that masks forbid do not", async () => {
  const right = await run("combined=1x1", knowing(Infinity));
  assert.deepEqual(right.answers, plain.answers);
  assert.equal(right.accepted, right.proposed);
  assert.ok(right.steps < 0.25 * plain.steps, `${right.steps} of ${plain.steps} steps`);
  // The next token's remainder by 3 is one that no mask allows there.
  const wrong = await run("combined=1x1", knowing(1));
  assert.deepEqual(wrong.answers, plain.answers);
});
