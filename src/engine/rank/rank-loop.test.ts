import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { ManualClock } from "../../cluster/fixtures.ts";
import type { RankNews } from "../messages.ts";
import { SpanRecorder, spanNames } from "../../trace/index.ts";
import { RankLoop, type LoopedRank } from "./rank-loop.ts";

/** A rank that always has a step to do, and something to tell of it. */
function busyRank(step: () => void = () => undefined) {
  const core = {
    idle: false,
    stats: { pagesInUse: 3 },
    step: async () => {
      step();
      return [{ handle: 0, event: { kind: "token", token: 1, top: [] } }];
    },
    cancel: () => undefined,
  };
  const rank = { core, joinsSteps: false, listen: () => new Promise(() => undefined) };
  return rank as unknown as LoopedRank;
}

async function turns(clock: ManualClock): Promise<void> {
  for (let i = 0; i < 20; i++) {
    await turn();
    clock.advanceToNext();
  }
}

test("a rank whose last two reports are not read waits, and goes on when one is", async () => {
  const clock = new ManualClock();
  const said: RankNews[] = [];
  const loop = new RankLoop(
    busyRank(),
    { say: (news) => said.push(news), die: assert.fail },
    clock,
  );
  loop.start();
  await turns(clock);
  assert.equal(said.length, 2);
  assert.ok(said.every((news) => news.kind === "events" && news.pagesInUse === 3));
  loop.hear({ kind: "heard" });
  await turns(clock);
  assert.equal(said.length, 3);
});

test("a report says how long ago its step began", async () => {
  const clock = new ManualClock();
  const said: RankNews[] = [];
  const say = (news: RankNews) => said.push(news);
  new RankLoop(
    busyRank(() => clock.advance(40)),
    { say, die: assert.fail },
    clock,
  ).start();
  await turns(clock);
  assert.ok(said.length > 0 && said.every((news) => news.kind === "events" && news.stepMs === 40));
});

test("what a step throws goes to the port, since no request can be told", async () => {
  const clock = new ManualClock();
  const broken = busyRank(() => {
    throw new Error("the unit is lost");
  });
  const ends: unknown[] = [];
  new RankLoop(
    broken,
    { say: () => assert.fail(), die: (error) => ends.push(error) },
    clock,
  ).start();
  await turns(clock);
  assert.deepEqual(ends, [new Error("the unit is lost")]);
});

test("a trace says when a rank waits for requests, and when for those who read its reports", async () => {
  const clock = new ManualClock();
  const recorder = new SpanRecorder({ node: 0, rank: 0, clock: () => clock.now() });
  const rank = busyRank();
  const waits: string[] = [];
  const say = (news: RankNews) => {
    if (news.kind !== "spans") return;
    const { names, ends } = news.spans;
    assert.ok(ends.every((end) => !Number.isNaN(end)));
    waits.push(...[...names].map((name) => spanNames[name]));
  };
  const loop = new RankLoop(rank, { say, die: assert.fail }, clock, recorder);
  loop.start();
  await turns(clock);
  assert.deepEqual(waits, [], "two reports may be on their way");
  loop.hear({ kind: "heard" });
  await turns(clock);
  assert.deepEqual(waits, ["READER"]);
  Object.assign(rank.core, { idle: true });
  loop.hear({ kind: "heard" });
  await turns(clock);
  Object.assign(rank.core, { idle: false });
  loop.hear({ kind: "heard" });
  loop.hear({ kind: "cancel", handle: 0 });
  await turns(clock);
  assert.deepEqual(waits, ["READER", "READER", "REQUESTS"]);
});
