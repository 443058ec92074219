import assert from "node:assert/strict";
import { test } from "node:test";
import { Pace } from "./pace.ts";
import { StepCost } from "./step-cost.ts";

const isNear = (value: number, expected: number, what: string) =>
  assert.ok(Math.abs(value / expected - 1) < 0.02, `${what}: ${value}, expected ${expected}`);

function measured(times: Readonly<Record<number, readonly number[]>>): StepCost {
  const cost = new StepCost();
  for (const [count, all] of Object.entries(times)) {
    for (const milliseconds of all) cost.measure(Number(count), milliseconds);
  }
  return cost;
}

const eight = (milliseconds: number) => Array<number>(8).fill(milliseconds);

test("a count between two that are known lies on the line between them, one beyond on the last line", () => {
  const cost = measured({ 1: eight(10), 2: eight(15), 4: eight(19) });
  isNear(cost.of(3), 17, "between");
  isNear(cost.of(6), 23, "beyond");
});

test("what was slow the first time is tried again, what always is is not hoped for any more", () => {
  const cost = measured({ 1: eight(10), 2: [90] });
  isNear(cost.of(2), 10.5, "after the first");
  for (let i = 0; i < 8; i++) cost.measure(2, 14);
  isNear(cost.of(2), 14, "after some more");
});

test("single steps that other work disturbs change nothing", () => {
  const cost = measured({ 1: [10, 10, 70, 10, 10, 10, 300, 10, 10, 10, 90, 10] });
  isNear(cost.of(1), 10, "the median");
});

test("nothing is tried before enough is known, then twice as much at a time", () => {
  const cost = measured({ 1: eight(10).slice(3) });
  assert.equal(cost.reach, 0);
  cost.measure(1, 10);
  assert.equal(cost.reach, 2);
  cost.measure(2, 11);
  assert.equal(cost.reach, 2, "measured once");
  for (let i = 0; i < 2; i++) cost.measure(2, 11);
  assert.equal(cost.reach, 4);
});

test("a count that has not come for long is forgotten, and may be hoped for again", () => {
  const cost = measured({ 1: eight(10), 2: eight(30) });
  for (let i = 0; i < 300; i++) cost.measure(1, 10);
  isNear(cost.of(2), 10.5, "hoped");
});

test("what slows all steps alike is taken out of their times, and a single slow one is not", () => {
  const pace = new Pace();
  const evened = (factor: number, steps: number) => {
    for (let i = 0; i < steps; i++) pace.measure(factor);
    return pace.evened(12);
  };
  assert.equal(evened(1, 5), 12);
  assert.equal(evened(6, 2), 12, "two of five");
  assert.equal(evened(2, 5), 6);
});
