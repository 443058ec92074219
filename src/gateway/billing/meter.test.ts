import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Meter } from "./meter.ts";

test("a sequence's time is cut at its first token and its last", () => {
  const meter = new Meter([100]);
  const sequence = meter.sequence(0, 1000);
  sequence.started(64);
  for (const time of [1150, 1170, 1200]) sequence.token(time);
  assert.deepEqual(meter.read(), {
    hit: 64,
    miss: 36,
    output: 3,
    kvTokensRead: 100 + 101 + 102,
    sequences: 1,
    firstTokenMs: 150,
    decodeMs: 50,
    resumed: 0,
    recomputedTokens: 0,
  });
});

test("what is computed again is counted apart from what is billed", () => {
  const meter = new Meter([100]);
  const sequence = meter.sequence(0, 0);
  sequence.started(64);
  sequence.token(1);
  const billed = meter.read();
  meter.resumed(101);
  meter.resumed(37);
  assert.deepEqual(meter.read(), { ...billed, resumed: 2, recomputedTokens: 138 });
});

test("a prompt counts once, from its first token on, with the least that was hit", () => {
  const meter = new Meter([200, 300]);
  const [first, second] = [meter.sequence(0, 0), meter.sequence(0, 0)];
  const other = meter.sequence(1, 0);
  first.started(0);
  second.started(192);
  other.started(128);
  assert.deepEqual([meter.read().hit, meter.read().miss], [0, 0], "nothing is whole yet");
  second.token(1);
  assert.deepEqual([meter.read().hit, meter.read().miss], [0, 200]);
  first.token(1);
  assert.deepEqual([meter.read().hit, meter.read().miss], [0, 200]);
  other.token(1);
  assert.deepEqual([meter.read().hit, meter.read().miss], [128, 372]);
  assert.equal(meter.read().sequences, 3);
});

test("where nobody has told of hits there are none", () => {
  const meter = new Meter([100]);
  meter.sequence(0, 0).token(1);
  assert.deepEqual([meter.read().hit, meter.read().miss], [0, 100]);
});

test("a clock that is set back takes no time from anybody", () => {
  const meter = new Meter([1]);
  const sequence = meter.sequence(0, 1000);
  sequence.started(0);
  sequence.token(800);
  sequence.token(700);
  const { firstTokenMs, decodeMs } = meter.read();
  assert.deepEqual([firstTokenMs, decodeMs], [0, 0]);
});

test("the KV read is the prompt for each output token and the output before it", () => {
  fc.assert(
    fc.property(fc.nat({ max: 1e5 }), fc.nat({ max: 200 }), (prompt, output) => {
      const meter = new Meter([prompt]);
      const sequence = meter.sequence(0, 0);
      for (let i = 0; i < output; i++) sequence.token(i);
      assert.equal(meter.read().kvTokensRead, output * prompt + (output * (output - 1)) / 2);
    }),
  );
});
