import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { ManualClock } from "../../cluster/fixtures.ts";
import { createKernels } from "../../kernels/index.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import { loadModel } from "../../model/index.ts";
import { request } from "../api/fixtures.ts";
import { maskColumnsOf } from "../mask-columns.ts";
import type { GenerationEvent } from "../messages.ts";
import { Speculation } from "../speculation/index.ts";
import { EngineCore } from "./core.ts";

const [fixture] = tinyFixtures();
const kernels = createKernels();
const prompt = fixture.tokens.slice(0, 5);

async function createCore(clock = new ManualClock()) {
  const model = await loadModel(fixture.directory, { kernels, policy: "f32", maxRows: 64 });
  return { core: new EngineCore({ model, pages: 16, clock }), clock, ...model.config };
}

function maskOf(vocabSize: number, ...tokens: number[]): Uint32Array {
  const mask = new Uint32Array(Math.ceil(vocabSize / 32));
  for (const token of tokens) mask[token >> 5] |= 1 << (token & 31);
  return mask;
}

/** The only tokens that may come from a position of a request on, one after the other. */
const told = (
  vocabSize: number,
  position: number,
  [after, ...tokens]: readonly number[],
  { handle = 0, slot = 0 } = {},
) =>
  maskColumnsOf([
    {
      ...{ handle, position },
      places: tokens.map((token, i) => ({
        ...{ after: [after, ...tokens][i], slot: slot + i, allowed: maskOf(vocabSize, token) },
      })),
    },
  ]);

const tokensOf = (events: readonly { handle: number; event: GenerationEvent }[], of: number) =>
  events.flatMap(({ handle, event }) =>
    handle === of && event.kind === "token" ? [event.token] : [],
  );

test("tokens are those that their masks allow, and a step waits for one that is under way", async () => {
  const { core, vocabSize } = await createCore();
  core.submit(0, request(prompt, { maxTokens: 3, mask: maskOf(vocabSize, 70) }));
  core.submit(1, request(prompt, { maxTokens: 3 }));
  assert.deepEqual(tokensOf(await core.step(), 0), [70]);
  const second = core.step();
  let over = false;
  void second.then(() => (over = true));
  for (let turn = 0; turn < 5; turn++) await nextTurn();
  assert.equal(over, false);
  // One of an earlier place is none.
  core.allow(told(vocabSize, prompt.length, [prompt[4], 3]));
  core.allow(told(vocabSize, prompt.length + 1, [70, 71], { slot: 1 }));
  assert.deepEqual(tokensOf(await second, 0), [71]);
  core.allow(told(vocabSize, prompt.length, [5, 72], { handle: 1, slot: 2 }));
  // One that was told is known by its slot.
  const places = [{ after: 71, slot: 2 }];
  core.allow(maskColumnsOf([{ handle: 0, position: prompt.length + 2, places }]));
  assert.deepEqual(tokensOf(await core.step(), 0), [72]);
  assert.ok(core.idle);
});

test("a mask that comes late costs others one wait, and one that does not come its own sequence", async () => {
  const { core, clock, vocabSize } = await createCore();
  const mask = maskOf(vocabSize, 70);
  const allowAgain = (places: number) =>
    core.allow(told(vocabSize, prompt.length + places, [70, 70]));
  core.submit(0, request(prompt, { maxTokens: 5, mask }));
  core.submit(1, request(prompt, { maxTokens: 5 }));
  await core.step();
  const late = core.step();
  await nextTurn();
  clock.advance(20);
  allowAgain(1);
  await late;
  // From now on it is in no step without one.
  assert.deepEqual(tokensOf(await core.step(), 0), []);
  allowAgain(2);
  assert.deepEqual(tokensOf(await core.step(), 0), [70]);
  // That one came in time: steps wait for the next.
  const waiting = core.step();
  await nextTurn();
  allowAgain(3);
  assert.deepEqual(tokensOf(await waiting, 0), [70]);
  allowAgain(4);
  core.submit(2, request(prompt, { maxTokens: 5, mask }));
  await core.step();
  const silent = core.step();
  await nextTurn();
  clock.advance(5000);
  const failed = (await silent).find(({ event }) => event.kind === "failed");
  assert.equal(failed?.handle, 2);
  core.cancel(0);
  while (!core.idle) await core.step();
});

test("what must come is computed along with the token before it", async () => {
  const model = await loadModel(fixture.directory, { kernels, policy: "f32", maxRows: 64 });
  const { vocabSize } = model.config;
  const speculation = new Speculation(
    () => ({ propose: () => [1, 2, 3] }),
    () => 0,
  );
  const core = new EngineCore({ model, pages: 16, clock: new ManualClock(), speculation });
  core.submit(0, request(prompt, { maxTokens: 5, mask: maskOf(vocabSize, 70) }));
  assert.deepEqual(tokensOf(await core.step(), 0), [70]);
  const places = [71, 72, 73].map((token, slot) => ({
    ...{ after: token - 1, slot, allowed: maskOf(vocabSize, token) },
  }));
  const free = { after: 73, slot: 3, allowed: maskOf(vocabSize, 3, 4) };
  core.allow(
    maskColumnsOf([{ handle: 0, position: prompt.length + 1, places: [...places, free] }]),
  );
  const events = await core.step();
  const tokens = tokensOf(events, 0);
  assert.deepEqual(tokens.slice(0, 3), [71, 72, 73]);
  assert.ok(tokens.length === 4 && [3, 4].includes(tokens[3]));
  assert.ok(core.idle);
});

test("who leaves while its mask is waited for lets the step go on", async () => {
  const { core, vocabSize } = await createCore();
  core.submit(0, request(prompt, { maxTokens: 5, mask: maskOf(vocabSize, 70) }));
  await core.step();
  const waiting = core.step();
  await nextTurn();
  core.cancel(0);
  await waiting;
  assert.ok(core.idle);
  assert.equal(core.stats.pagesInUse, 0);
});
