import assert from "node:assert/strict";
import { test } from "node:test";
import type { AddonStream } from "../native-addon.ts";
import type { CommandRing } from "./command-ring.ts";
import { Waiters } from "./waiters.ts";

/** Waiters of a stream that never runs commands while it is asked, and has run those before `executed`. */
function slowStream() {
  const stream = { executed: 0 };
  const ring = { reached: (target: number) => stream.executed >= target };
  const native = { announce: () => false };
  return {
    stream,
    waiters: new Waiters(ring as unknown as CommandRing, native as unknown as AddonStream),
  };
}

test("whoever waits for commands that have run goes on at once", () => {
  const { stream, waiters } = slowStream();
  stream.executed = 1;
  assert.equal(waiters.executed(1), undefined);
});

test("nobody overtakes a waiter that has not been told yet", async () => {
  const { stream, waiters } = slowStream();
  const told: number[] = [];
  const first = waiters.executed(1)?.then(() => told.push(1));
  stream.executed = 2;
  const second = waiters.executed(2)?.then(() => told.push(2));
  assert.ok(first && second, "both wait");
  waiters.settleReached();
  await Promise.all([first, second]);
  assert.deepEqual(told, [1, 2]);
});
