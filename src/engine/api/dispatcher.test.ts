import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { ManualClock } from "../../cluster/fixtures.ts";
import type { RankFleet } from "../fleet/index.ts";
import type { TimedEvent } from "../messages.ts";
import { admitted } from "../requests.ts";
import type { Router } from "../routing/index.ts";
import { Dispatcher } from "./dispatcher.ts";
import { request } from "./fixtures.ts";

const WAIT_MS = 60_000;

const codeOf = (event: TimedEvent | undefined): string =>
  event?.kind === "failed" ? event.code : `${event?.kind}`;

/** Requests that no rank is free for, and a router of which tests say whether its unit serves. */
function open() {
  const clock = new ManualClock();
  const router = { serves: true, asked: 0 };
  const dispatcher = new Dispatcher({
    router: {
      ...{ lose: () => undefined, add: () => undefined, drain: () => undefined },
      get serves() {
        return router.serves;
      },
      route: () => void router.asked++,
    } as unknown as Router,
    ranks: [] as RankFleet["ranks"],
    ...{ clock, now: () => clock.now(), moved: () => undefined },
  });
  const ask = () => {
    const live = dispatcher.begin(admitted(request([1, 2, 3])), undefined);
    const heard: string[] = [];
    void live.events.next().then((event) => heard.push(codeOf(event)));
    return { live, heard };
  };
  const later = async (milliseconds: number) => {
    clock.advance(milliseconds);
    await turn();
  };
  /** The only unit ceases to serve, or serves again. */
  const serve = (serves: boolean) => {
    router.serves = serves;
    if (serves) dispatcher.serve({ role: "combined", ranks: [1] });
    else dispatcher.lose([0], "it is gone");
  };
  return { dispatcher, router, clock, ask, later, serve };
}

test("a request waits without end while a unit serves, and a minute from when none does", async () => {
  const { ask, later, serve } = open();
  const { heard } = ask();
  await later(10 * WAIT_MS);
  serve(false);
  await later(WAIT_MS - 1);
  assert.deepEqual(heard, []);
  await later(1);
  assert.deepEqual(heard, ["rank_lost"]);
});

test("what was waited while a unit served is not counted when it is lost, nor before one comes", async () => {
  const { ask, later, serve, clock } = open();
  const { heard, live } = ask();
  await later(WAIT_MS - 1);
  for (let losses = 0; losses < 3; losses++) {
    serve(false);
    await later(WAIT_MS - 1);
    serve(true);
    await later(1);
  }
  assert.deepEqual(heard, []);
  serve(false);
  const second = ask();
  await later(WAIT_MS);
  assert.deepEqual([...heard, ...second.heard], ["rank_lost", "rank_lost"]);
  assert.ok(live.isOver);
  assert.equal(clock.pending, 0);
});

test("however many requests end at once, those that wait are looked at once", async () => {
  const { ask, later, router, dispatcher } = open();
  const asked = Array.from({ length: 40 }, ask);
  await later(1);
  router.asked = 0;
  for (const { live } of asked.slice(0, 30)) dispatcher.leave(live);
  await later(1);
  assert.equal(router.asked, 10);
});
