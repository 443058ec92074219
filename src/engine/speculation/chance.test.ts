import assert from "node:assert/strict";
import { test } from "node:test";
import { randomSource } from "../../kernels/index.ts";
import { Chance, Trust } from "./chance.ts";

test("a chance comes to what became of proposals, quickly at first", () => {
  const chance = new Chance(0.9, 40);
  chance.learn([5], [6]);
  assert.ok(chance.value < 0.7, "one wrong of few");
  for (let i = 0; i < 200; i++) chance.learn([5, 6], [5, 7]);
  assert.ok(Math.abs(chance.value - 0.5) < 0.05, `${chance.value}`);
});

test("only proposals up to the first wrong one are compared, and only with tokens that were chosen", () => {
  const [long, short] = [new Chance(0.5, 10), new Chance(0.5, 10)];
  long.learn([1, 2, 3, 4], [1, 9, 3, 4]);
  short.learn([1, 2], [1, 9]);
  assert.equal(long.value, short.value);
  const before = short.value;
  short.learn([1, 2], []);
  assert.equal(short.value, before);
});

test("chances that come to less than they promise are believed less, until they come to it again", () => {
  const random = randomSource(5);
  const trust = new Trust();
  const runs = (steps: number, real: number) => {
    for (let i = 0; i < steps; i++) {
      let stood = 0;
      while (stood < 3 && random() < real) stood++;
      trust.learn(0.9, 3, stood);
    }
    return 0.9 * trust.value;
  };
  assert.ok(Math.abs(runs(500, 0.6) - 0.6) < 0.1);
  assert.ok(runs(1000, 0.9) > 0.8);
  trust.learn(0.9, 0, 0);
  assert.ok(trust.value <= 1);
});
