import assert from "node:assert/strict";
import { test } from "node:test";
import { afterAwake, inTime } from "./clock.ts";
import { ManualClock } from "./fixtures.ts";

test("a deadline is kept to the millisecond, and may be called off", () => {
  const clock = new ManualClock();
  const calls: number[] = [];
  afterAwake(clock, 1000, () => calls.push(clock.now()));
  const cancel = afterAwake(clock, 500, () => calls.push(clock.now()));
  cancel();
  clock.advance(999);
  assert.deepEqual(calls, []);
  clock.advance(5000);
  assert.deepEqual(calls, [1000]);
});

test("after a process was held up what came meanwhile is heard before a deadline", async () => {
  const clock = new ManualClock();
  let answer: (text: string) => void = () => undefined;
  const asked = new Promise<string>((resolve) => (answer = resolve));
  const told = inTime(asked, clock, 1000, () => new Error("late"));
  const silent = assert.rejects(
    inTime(new Promise(() => undefined), clock, 1000, () => new Error("late")),
    { message: "late" },
  );
  clock.freeze(20_000);
  clock.advance(0);
  answer("in time");
  assert.equal(await told, "in time");
  clock.advance(249);
  assert.equal(clock.pending, 1);
  clock.advance(1);
  await silent;
  const cancel = afterAwake(clock, 1000, assert.fail);
  clock.freeze(20_000);
  clock.advance(0);
  cancel();
  assert.equal(clock.pending, 0);
});
