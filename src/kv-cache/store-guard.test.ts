import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../cluster/fixtures.ts";
import { StoreGuard } from "./store-guard.ts";

const DEADLINE_MS = 2000;

function guardOf() {
  const clock = new ManualClock();
  const guard = new StoreGuard({ operations: "reads", deadlineMs: DEADLINE_MS, maxOpen: 9, clock });
  return { clock, guard };
}

const fails = () => Promise.reject(new Error("gone"));
const works = async () => "content";

test("a store that keeps failing is tried by one operation, later and later", async () => {
  const { clock, guard } = guardOf();
  for (let i = 0; i < 3; i++) {
    assert.ok(guard.admits);
    await guard.run(fails);
  }
  for (const wait of [1000, 2000, 4000, 8000, 16_000, 16_000]) {
    clock.advance(wait - 1);
    assert.ok(!guard.admits);
    clock.advance(1);
    assert.ok(guard.admits);
    const trial = guard.run(() => new Promise(() => undefined));
    assert.ok(!guard.admits, "one is enough");
    clock.advance(DEADLINE_MS);
    assert.equal(await trial, undefined);
  }
  assert.equal(guard.bypassed, "3 reads in a row failed, the last: gone");
  assert.deepEqual([guard.failed, guard.late], [3, 6]);
  clock.advance(16_000);
  assert.equal(await guard.run(works), "content");
  assert.ok(guard.admits);
  assert.equal(guard.bypassed, undefined);
});

test("operations that fail together bypass a store no longer than three would", async () => {
  const { clock, guard } = guardOf();
  await Promise.all(Array.from({ length: 9 }, () => guard.run(fails)));
  assert.equal(guard.failed, 9);
  clock.advance(1000);
  assert.ok(guard.admits);
});

test("an answer to what was asked before ends the bypass", async () => {
  const { clock, guard } = guardOf();
  let answer: (content: string) => void = () => undefined;
  const slow = guard.run(() => new Promise<string>((resolve) => (answer = resolve)));
  for (let i = 0; i < 3; i++) await guard.run(fails);
  assert.ok(!guard.admits);
  clock.advance(500);
  answer("content");
  assert.equal(await slow, "content");
  assert.ok(guard.admits);
});
