import assert from "node:assert/strict";
import { test } from "node:test";
import { ReadGain } from "./read-gain.ts";

function known(readMs: number, computeMs: number): ReadGain {
  const gain = new ReadGain(8);
  for (let run = 0; run < 8; run++) {
    gain.sawRead(9, 2 * readMs);
    gain.sawComputed(64, 64 * computeMs);
  }
  return gain;
}

test("blocks are read until it is known that computing them is faster", () => {
  const gain = new ReadGain(8);
  assert.ok(gain.pays(1, 64));
  for (let run = 0; run < 7; run++) gain.sawRead(1, 1000);
  gain.sawComputed(64, 1);
  assert.ok(gain.pays(1, 64));
  gain.sawRead(1, 1000);
  assert.ok(!gain.pays(1, 64));
});

test("what is computed faster than a slow store answers is computed, and the rest is read", () => {
  // A round of reads takes 300 ms; 64 tokens take 64 ms, and 64 blocks 4.1 s.
  const gain = known(300, 1);
  assert.ok(!gain.pays(1, 64));
  assert.ok(gain.pays(64, 64 * 64));
  assert.ok(known(40, 0.01).pays(1, 64), "less than 50 ms are not worth computing");
});

test("a store that was slow is tried again, and read when it is fast", () => {
  const gain = known(300, 1);
  const tried = Array.from({ length: 16 }, () => gain.pays(1, 64));
  assert.deepEqual(
    tried.map((read) => Number(read)).reduce((sum, read) => sum + read),
    1,
  );
  for (let run = 0; run < 10; run++) gain.sawRead(1, 1);
  assert.ok(gain.pays(1, 64));
});
