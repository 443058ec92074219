import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Meter } from "./meter.ts";

test("tokens are counted, and the contexts that they were computed from", () => {
  const meter = new Meter([100]);
  const sequence = meter.sequence(0);
  sequence.started(64);
  for (let token = 0; token < 3; token++) sequence.token();
  const counts = { hit: 64, miss: 36, output: 3, kvTokensRead: 100 + 101 + 102 };
  assert.deepEqual(meter.read(), counts);
});

test("a prompt counts once, from its first token on, with the least that was hit", () => {
  const meter = new Meter([200, 300]);
  const [first, second] = [meter.sequence(0), meter.sequence(0)];
  const other = meter.sequence(1);
  first.started(0);
  second.started(192);
  other.started(128);
  assert.deepEqual([meter.read().hit, meter.read().miss], [0, 0], "nothing is whole yet");
  second.token();
  assert.deepEqual([meter.read().hit, meter.read().miss], [0, 200]);
  first.token();
  assert.deepEqual([meter.read().hit, meter.read().miss], [0, 200]);
  other.token();
  assert.deepEqual([meter.read().hit, meter.read().miss], [128, 372]);
});

test("where nobody has told of hits there are none", () => {
  const meter = new Meter([100]);
  meter.sequence(0).token();
  assert.deepEqual([meter.read().hit, meter.read().miss], [0, 100]);
});

test("the KV read is the prompt for each output token and the output before it", () => {
  fc.assert(
    fc.property(fc.nat({ max: 1e5 }), fc.nat({ max: 200 }), (prompt, output) => {
      const meter = new Meter([prompt]);
      const sequence = meter.sequence(0);
      for (let i = 0; i < output; i++) sequence.token();
      assert.equal(meter.read().kvTokensRead, output * prompt + (output * (output - 1)) / 2);
    }),
  );
});
