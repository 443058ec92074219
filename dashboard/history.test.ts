import assert from "node:assert/strict";
import { test } from "node:test";
import { columns, extended, readSamples, SPAN_MS, writeSamples, type Sample } from "./history.ts";

const at = (time: number, output = 0): Sample => ({
  ...{ time, input: 0, output, waiting: 0, prefill: 0, decode: 0 },
  ...{ firstToken: null, perToken: null, fullest: {} },
});

test("samples are those of the last ten minutes, in order", () => {
  let samples: readonly Sample[] = [];
  for (let second = 0; second <= 700; second++) samples = extended(samples, at(1000 * second));
  assert.equal(samples[0].time, 700_000 - SPAN_MS);
  assert.equal(samples.length, SPAN_MS / 1000 + 1);
  const setBack = extended(samples, at(650_000));
  assert.equal(setBack.at(-1)?.time, 650_000);
  assert.ok(setBack.every(({ time }, index) => index === 0 || time > setBack[index - 1].time));
});

test("a chart has a gap where nobody looked", () => {
  const samples = [at(1000, 1), at(2000, 2), at(60_000, 3)];
  assert.deepEqual(columns(samples, [({ output }) => output]), [
    [1, 2, 3, 60],
    [1, 2, null, 3],
  ]);
});

test("what was written is read again, and anything else is nothing", () => {
  const samples = [at(1000, 1), at(2000, 2)];
  assert.deepEqual(readSamples(writeSamples(samples)), samples);
  for (const other of [null, "", "[", "null", "{}", '{"version":0,"samples":[1]}']) {
    assert.deepEqual(readSamples(other), []);
  }
});
