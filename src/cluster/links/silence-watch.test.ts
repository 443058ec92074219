import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../fixtures.ts";
import { SilenceWatch } from "./silence-watch.ts";

function watch(limit: number) {
  const clock = new ManualClock();
  const silentAt: number[] = [];
  const watching = new SilenceWatch(clock, limit, () => silentAt.push(clock.now()));
  return { clock, silentAt, watching };
}

test("a peer is given up exactly when it has been silent for the limit, once", () => {
  const { clock, silentAt, watching } = watch(1000);
  clock.advance(900);
  watching.heard();
  clock.advance(999);
  assert.deepEqual(silentAt, []);
  clock.advance(5000);
  assert.deepEqual(silentAt, [1900]);
  assert.equal(clock.pending, 0);
});

test("a peer heard of every quarter is never given up", () => {
  const { clock, silentAt, watching } = watch(1000);
  for (let quarter = 0; quarter < 100; quarter++) {
    clock.advance(250);
    watching.heard();
  }
  assert.deepEqual(silentAt, []);
});

test("a watcher that was stopped itself listens before it accuses", () => {
  const { clock, silentAt, watching } = watch(1000);
  clock.freeze(20_000);
  clock.advance(100);
  watching.heard();
  clock.advance(1000);
  assert.deepEqual(silentAt, [21_100]);
});

test("a watch that was stopped leaves no timer", () => {
  const { clock, silentAt, watching } = watch(1000);
  watching.stop();
  assert.equal(clock.pending, 0);
  clock.advance(5000);
  assert.deepEqual(silentAt, []);
});
