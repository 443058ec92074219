import assert from "node:assert/strict";
import { test } from "node:test";
import { ReadGain } from "./read-gain.ts";

/** Rounds of reads took so long, and tokens of prompts. */
function known(roundMs: number, tokenMs: number): ReadGain {
  const gain = new ReadGain(8);
  for (let round = 0; round < 3; round++) {
    gain.sawRound(roundMs);
    gain.sawComputed(64, 64 * tokenMs);
  }
  return gain;
}

const pays = (gain: ReadGain, blocks: number) => gain.pays(blocks, gain.computeMs(blocks));

test("blocks are read until it is known that computing them is faster", () => {
  const gain = new ReadGain(8);
  gain.sawComputed(64, 1);
  for (let round = 0; round < 3; round++) {
    assert.ok(pays(gain, 1));
    gain.sawRound(1000);
  }
  assert.ok(!pays(gain, 1));
});

test("what is computed faster than a slow store answers is computed, and the rest is read", () => {
  // A round of reads takes 300 ms; 64 tokens take 64 ms, and 64 blocks 4.1 s.
  const gain = known(300, 1);
  assert.ok(!pays(gain, 1));
  assert.ok(pays(gain, 64));
  assert.ok(gain.pays(1, 400), "somebody else would take longer");
  assert.ok(pays(known(40, 0.01), 1), "less than 50 ms are not worth computing");
});

test("a round that a machine's stall has made slow does not count against the store", () => {
  const gain = known(5, 0.01);
  gain.sawRound(900);
  gain.sawRound(900);
  assert.ok(pays(gain, 1));
});

test("a store that was slow is tried less and less often, and read again when it is fast", () => {
  const gain = known(300, 1);
  const tried: number[] = [];
  for (let run = 0; run < 70; run++) {
    if (pays(gain, 1)) {
      tried.push(run);
      gain.sawRound(300);
    } else gain.passed();
  }
  assert.deepEqual(tried, [1, 4, 9, 18, 35, 52, 69]);
  gain.sawRound(1);
  assert.ok(pays(gain, 1) && pays(gain, 1));
  for (let round = 0; round < 3; round++) gain.sawRound(300);
  assert.ok(!pays(gain, 1));
  gain.passed();
  assert.ok(pays(gain, 1), "slow anew, it is tried again as soon as at first");
});

test("a run is given up where what is left of it is computed before it would be read", () => {
  const gain = known(500, 1);
  assert.equal(gain.patience(gain.computeMs(2)), 128 + 250);
  assert.ok(gain.goesOn(8, gain.computeMs(8)));
  assert.ok(!gain.goesOn(9, gain.computeMs(9)), "two rounds of 500 ms, 576 ms to compute");
  assert.ok(gain.goesOn(0, 0), "nothing is left");
});
