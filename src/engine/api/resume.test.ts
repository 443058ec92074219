import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../../cluster/fixtures.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import { readConfig, type ModelConfig, type StepBatch } from "../../model/index.ts";
import type { AskedRequest, TimedEvent } from "../messages.ts";
import type { Engine } from "./client.ts";
import { contextModel, inVirtualTime } from "./context-model-fixtures.ts";
import { answer, request, untimed } from "./fixtures.ts";
import type { MaskSource } from "./answer-masks.ts";
import { maskOf, masksAfter } from "./mask-fixtures.ts";
import {
  openVirtual,
  runClock,
  type VirtualOptions,
  type VirtualRanks,
} from "./virtual-fixtures.ts";

const [{ directory }] = tinyFixtures().filter(({ name }) => name === "v3");
const config: ModelConfig = {
  ...(await readConfig(directory)),
  ...{ maxPositions: 1024, vocabSize: 24 },
};
const STEP_ROWS = 32;
const STEP_MS = 5;

interface Scene {
  readonly engine: Engine;
  readonly ranks: VirtualRanks;
  readonly clock: ManualClock;
  /** What each loss was told to be. */
  readonly moved: [requests: number, reason: string][];
  /** Rows that each rank has computed. */
  readonly rows: number[];
}

/** Fails a step of a rank by throwing. */
type Check = (rank: number, batch: StepBatch) => void;

/** An engine on virtual ranks; `check` sees every step when its time is over. */
async function open(
  topology: string,
  options: Partial<VirtualOptions> = {},
  check: Check = () => undefined,
): Promise<Scene> {
  const clock = new ManualClock();
  const moved: Scene["moved"] = [];
  const rows: number[] = [];
  const takeTime = async (rank: number, batch: StepBatch) => {
    await new Promise<void>((resolve) => clock.after(STEP_MS, resolve));
    check(rank, batch);
    rows[rank] = (rows[rank] ?? 0) + batch.rows;
  };
  const opened = await openVirtual({
    ...{ topology, config, clock, stepRows: STEP_ROWS, linkMs: () => 1 },
    core: (rank) => ({
      model: inVirtualTime(contextModel(config, STEP_ROWS), (batch) => takeTime(rank, batch)),
      pages: 60,
    }),
    observer: { moved: (requests, reason) => moved.push([requests, reason]) },
    ...options,
  });
  return { ...opened, clock, moved, rows };
}

async function tell(
  engine: Engine,
  asked: AskedRequest,
  heard: (event: TimedEvent) => void = () => undefined,
  masks?: MaskSource,
): Promise<TimedEvent[]> {
  const events: TimedEvent[] = [];
  for await (const event of engine.generate(asked, undefined, masks)) {
    events.push(event);
    heard(event);
  }
  return events;
}

/** All answers, once the clock has nothing more to bring about. */
async function finish(scene: Scene, told: readonly Promise<TimedEvent[]>[]) {
  let ended: TimedEvent[][] | undefined;
  const all = Promise.all(told).then((events) => (ended = events));
  await runClock(scene.clock);
  assert.ok(ended, "an answer hangs");
  for (const rank of scene.ranks.alive) {
    const { pagesInUse, waiting, running } = scene.ranks.cores[rank].stats;
    assert.deepEqual([pagesInUse, waiting, running], [0, 0, 0], `rank ${rank} holds nothing`);
  }
  return all;
}

const promptOf = (length: number, from: number) =>
  Array.from({ length }, (_, i) => (from + i * i) % 24);

/** Greedy and seeded, with penalties, logprobs, minimum and stop tokens. */
const asked = Array.from({ length: 8 }, (_, i): AskedRequest => {
  const { sampling } = request([]);
  const penalised = { presencePenalty: 0.4, frequencyPenalty: 0.2, repetitionPenalty: 1.3 };
  const barred = { barred: { tokens: [3], before: 20 } };
  return request(promptOf(10 + 23 * i, i), {
    id: `${i}`,
    maxTokens: 20 + 9 * i,
    choice: i % 3,
    stopTokens: i % 2 === 0 ? [] : [3],
    sampling: {
      ...sampling,
      ...(i % 2 === 0 ? {} : { temperature: 0.9, seed: i, topP: 0.9 }),
      ...(i % 4 < 2 ? {} : { ...penalised, ...barred }),
    },
  });
});

async function undisturbed(requests: readonly AskedRequest[]) {
  const scene = await open("combined=1x1");
  const told = await finish(
    scene,
    requests.map((one) => tell(scene.engine, one)),
  );
  return told.map((events) => answer(untimed(events)));
}

const expected = await undisturbed(asked);
const node = { reason: "node 1 is lost" };

const resumed = (events: readonly TimedEvent[]) =>
  events.flatMap((event) => (event.kind === "resumed" ? [event.recomputedTokens] : []));

for (const [topology, lost] of [
  ["combined=2x1", [[0]]],
  ["combined=3x2", [[0], [5]]],
  ["prefill=2x1,decode=2x1", [[2]]],
  ["prefill=1x1,decode=2x1", [[0]]],
  ["prefill=2x1,decode=1x1", [[2]]],
  ["prefill=2x2,decode=2x2", [[1, 5], [2]]],
] as const) {
  for (const sharesExperts of [false, true]) {
    const what = `${topology}${sharesExperts ? " with shared experts" : ""}`;
    test(`answers outlive ranks ${lost.join(" and ")} of ${what}`, async () => {
      for (const at of [0, 3, 11, 20, 33, 60, 150]) {
        const scene = await open(topology, { sharesExperts });
        const told = asked.map((one) => tell(scene.engine, one));
        for (const [i, ranks] of lost.entries()) {
          scene.clock.after(at + 40 * i, () => scene.ranks.lose(ranks, node));
        }
        const events = await finish(scene, told);
        for (const [i, each] of events.entries()) {
          assert.deepEqual(answer(untimed(each)), expected[i], `request ${i}, lost at ${at} ms`);
          const started = each.filter(({ kind }) => kind === "started");
          assert.equal(started.length, 1, "a request is admitted once, and billed for that");
        }
        if (at !== 60) continue;
        assert.ok(scene.moved.length > 0 && scene.moved.length <= 2 * lost.flat().length);
        assert.ok(events.some((each) => resumed(each).some((tokens) => tokens > 0)));
      }
    });
  }
}

test("a mask goes on where the tokens told have led", async () => {
  /** Bits of the tokens that may follow: those with the same remainder by 3 as one more than this one. */
  const maskAfter = (token: number) => maskOf(24, (next) => next % 3 === (token + 1) % 3);
  const one = { ...asked[5], stopTokens: [], mask: maskAfter(0) };
  const ask = async (scene: Scene, sixthMs = 3) => {
    const walked: number[] = [];
    const wait = () => {
      const milliseconds = walked.length === 6 ? sixthMs : 3;
      return new Promise<void>((resolve) => scene.clock.after(milliseconds, resolve));
    };
    const source = masksAfter(maskAfter, { wait });
    const masks: MaskSource = {
      ...source,
      next(token) {
        walked.push(token);
        return source.next(token);
      },
    };
    const [events] = await finish(scene, [tell(scene.engine, one, () => undefined, masks)]);
    return { events: answer(untimed(events)), walked };
  };
  const quiet = await ask(await open("combined=1x1"));
  assert.ok(quiet.walked.every((token, i) => token % 3 === (i + 1) % 3));
  for (let at = 10; at < 200; at += 19) {
    const scene = await open("prefill=2x1,decode=2x1");
    scene.clock.after(at, () => scene.ranks.lose([2], node));
    scene.clock.after(at + 31, () => scene.ranks.lose([0], node));
    assert.deepEqual(await ask(scene), quiet, `lost at ${at}`);
  }
  // One that steps do not wait for: the request goes on once it is there.
  assert.deepEqual(await ask(await open("prefill=1x1,decode=1x1"), 8000), quiet);
});

test("who leaves while its request waits for other ranks leaves nothing behind", async () => {
  for (let at = 5; at < 120; at += 5) {
    const scene = await open("prefill=1x1,decode=2x1");
    const left = new AbortController();
    const events = (async () => {
      const heard: TimedEvent[] = [];
      for await (const event of scene.engine.generate(asked[7], left.signal)) heard.push(event);
      return heard;
    })();
    scene.clock.after(at, () => scene.ranks.lose([1], node));
    scene.clock.after(at + 2, () => scene.ranks.lose([0], node));
    scene.clock.after(at + (at % 4), () => left.abort());
    const [told] = await finish(scene, [events]);
    const got = answer(untimed(told));
    assert.deepEqual(got, expected[7].slice(0, got.length));
  }
});

/** Throws where a batch has the token that kills. */
const POISON = 23;
const poisoned: AskedRequest = request([...promptOf(70, 2), POISON, 1], { id: "poison" });
const isPoisoned = ({ tokens, rows }: StepBatch) => tokens.subarray(0, rows).includes(POISON);
const harmless = asked.map((one) => ({
  ...one,
  prompt: [...one.prompt].map((token) => token % POISON),
  sampling: { ...one.sampling, logitBias: { [POISON]: -100 } },
}));
const harmlessAnswers = await undisturbed(harmless);

for (const [topology, sharesExperts] of [
  ["combined=1x1", false],
  ["combined=2x1", false],
  ["prefill=1x1,decode=1x1", false],
  ["combined=4x2", true],
  ["prefill=3x2,decode=2x1", true],
] as const) {
  test(`a request that breaks ${topology} ends by name, alone; those beside it finish`, async () => {
    const alone: boolean[] = [];
    const scene = await open(topology, { sharesExperts }, (_, batch) => {
      if (!isPoisoned(batch)) return;
      alone.push(batch.rowStarts.length === 2);
      throw new Error("a row that no kernel can compute");
    });
    const told = [...harmless, poisoned].map((one) => tell(scene.engine, one));
    const [last, ...others] = (await finish(scene, told)).toReversed();
    for (const [i, events] of others.toReversed().entries()) {
      assert.deepEqual(answer(untimed(events)), harmlessAnswers[i], `request ${i}`);
    }
    const end = last.at(-1);
    assert.ok(end?.kind === "failed" && end.code === "request_failed_thrice", JSON.stringify(end));
    assert.match(end.message, /a row that no kernel can compute/);
    assert.equal(alone.length, 3);
    assert.ok(alone[2], "the third time it was alone on its rank");
  });
}

test("a loss that is nobody's fault is none of the request's, up to the twelfth", async () => {
  const scene = await open("combined=14x1");
  const told = tell(scene.engine, { ...asked[0], maxTokens: 900 });
  const busy = () => scene.ranks.alive.find((rank) => scene.ranks.cores[rank].stats.running > 0);
  let losses = 0;
  const strike = () => {
    const rank = busy();
    if (rank !== undefined && losses < 13) {
      losses++;
      scene.ranks.lose([rank], node);
    }
    if (losses < 13) scene.clock.after(20, strike);
  };
  scene.clock.after(20, strike);
  const [events] = await finish(scene, [told]);
  assert.equal(resumed(events).length, 12);
  const end = events.at(-1);
  assert.ok(end?.kind === "failed" && end.code === "rank_lost", JSON.stringify(end));
});

test("a first token that is lost with its rank, after the hand-over, is waited for by nobody", async () => {
  for (let at = 6; at < 40; at += 3) {
    const scene = await open("prefill=2x1,decode=2x1");
    const told = asked.map((one) => tell(scene.engine, one));
    const unheard = { ...node, losesWay: (to: number | "client") => to === "client" };
    scene.clock.after(at, () => scene.ranks.lose([0], unheard));
    for (const [i, events] of (await finish(scene, told)).entries()) {
      assert.deepEqual(answer(untimed(events)), expected[i], `request ${i}, lost at ${at}`);
    }
  }
});

test("ranks that cannot reach each other leave their requests to be tried again", async () => {
  for (let at = 2; at < 80; at += 11) {
    const scene = await open("prefill=2x1,decode=2x1");
    const told = asked.map((one) => tell(scene.engine, one));
    scene.clock.after(at, () => scene.ranks.cut(0, 2));
    scene.clock.after(at + 60, () => scene.ranks.lose([2], node));
    const events = await finish(scene, told);
    for (const [i, each] of events.entries()) {
      assert.deepEqual(answer(untimed(each)), expected[i], `request ${i}, cut at ${at}`);
    }
  }
});

test("when the last rank is lost, all end by name", async () => {
  const scene = await open("prefill=1x1,decode=1x1");
  const told = asked.map((one) => tell(scene.engine, one));
  scene.clock.after(30, () => scene.ranks.lose([0], node));
  scene.clock.after(60, () => scene.ranks.lose([1], node));
  for (const events of await finish(scene, told)) {
    const end = events.at(-1);
    assert.ok(end?.kind === "finished" || (end?.kind === "failed" && end.code === "engine_ended"));
  }
  assert.match(scene.engine.ended ?? "", /node 1 is lost/);
});
