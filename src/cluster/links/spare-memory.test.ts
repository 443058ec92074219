import assert from "node:assert/strict";
import { test } from "node:test";
import { SpareMemory } from "./spare-memory.ts";

const MB = 1024 * 1024;

test("a message lies in the memory of one that is over, if that is not twice too large", () => {
  const spare = new SpareMemory();
  const first = spare.take(400_000);
  spare.give(first);
  assert.notEqual(spare.take(199_000).buffer, first.buffer);
  const second = spare.take(380_000);
  assert.equal(second.buffer, first.buffer);
  assert.equal(second.length, 380_000);
  assert.notEqual(spare.take(380_000).buffer, first.buffer, "it lies there alone");
});

test("a layer's next message fits if it is a little longer", () => {
  const spare = new SpareMemory();
  const first = spare.take(400_000);
  spare.give(first);
  assert.equal(spare.take(410_000).buffer, first.buffer);
});

test("what is kept has a bound, and the oldest goes first", () => {
  const spare = new SpareMemory();
  const given = Array.from({ length: 6 }, () => spare.take(16 * MB));
  for (const memory of given) spare.give(memory);
  const taken = given.map(() => spare.take(16 * MB).buffer);
  assert.deepEqual(
    given.map(({ buffer }) => taken.includes(buffer)),
    [false, false, false, false, true, true],
  );
});

test("what is small, shared, gone or larger than all that is kept is left to the collector", () => {
  const spare = new SpareMemory();
  const small = spare.take(100);
  spare.give(small);
  assert.notEqual(spare.take(100).buffer, small.buffer);
  const gone = spare.take(MB);
  structuredClone(gone, { transfer: [gone.buffer] });
  spare.give(gone);
  spare.give(new Uint8Array(new SharedArrayBuffer(MB)));
  assert.equal(spare.take(MB).buffer instanceof ArrayBuffer, true);
  const huge = spare.take(33 * MB);
  spare.give(huge);
  assert.notEqual(spare.take(33 * MB).buffer, huge.buffer);
});
