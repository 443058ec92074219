import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Turnstile } from "./turnstile.ts";

test("callers pass in order, one on each turn", async () => {
  const turnstile = new Turnstile();
  const passed: number[] = [];
  for (let caller = 0; caller < 3; caller++) {
    void turnstile.pass().then(() => passed.push(caller));
  }
  for (let turn = 1; turn <= 3; turn++) {
    assert.equal(passed.length, turn - 1);
    await nextTurn();
  }
  assert.deepEqual(passed, [0, 1, 2]);
  await turnstile.pass();
});
