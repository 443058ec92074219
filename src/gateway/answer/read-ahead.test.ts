import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { readAhead } from "./read-ahead.ts";

/** Numbers up to `count`, and how far they were read. */
function numbers(count: number) {
  const source = { read: 0, left: false };
  const values = (async function* () {
    try {
      while (source.read < count) yield source.read++;
    } finally {
      source.left = true;
    }
  })();
  return { source, values };
}

const never = () => assert.fail("nothing overflows");

test("values come in order, and are read before they are taken", async () => {
  const { source, values } = numbers(10);
  const taken: number[] = [];
  for await (const value of readAhead(values, 10, never)) {
    await setImmediate();
    assert.equal(source.read, 10);
    taken.push(value);
  }
  assert.deepEqual(taken, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("with more than may wait the source is left, and the taker told", async () => {
  const { source, values } = numbers(1e6);
  let overflows = 0;
  const ahead = readAhead(values, 100, () => overflows++);
  await ahead.next();
  await setImmediate();
  assert.deepEqual([overflows, source.left], [1, true]);
  assert.ok(source.read <= 103, `${source.read} were read`);
});

test("a source that fails fails its taker, after what it has said", async () => {
  const failing = (async function* () {
    yield 1;
    throw new Error("a bug");
  })();
  const taken: number[] = [];
  await assert.rejects(async () => {
    for await (const value of readAhead(failing, 10, never)) taken.push(value);
  }, /a bug/);
  assert.deepEqual(taken, [1]);
});

test("who leaves does not wait for a source that is silent", async () => {
  const silent = (async function* () {
    yield 1;
    await new Promise(() => undefined);
  })();
  for await (const value of readAhead(silent, 10, never)) {
    assert.equal(value, 1);
    break;
  }
});
