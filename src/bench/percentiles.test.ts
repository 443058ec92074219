import assert from "node:assert/strict";
import { test } from "node:test";
import { median, percentile } from "./percentiles.ts";

test("a percentile lies between its neighbours in proportion", () => {
  const values = [40, 10, 30, 20];
  assert.equal(percentile(values, 0), 10);
  assert.equal(percentile(values, 1), 40);
  assert.equal(median(values), 25);
  assert.equal(percentile(values, 0.2), 16);
  assert.equal(median([7]), 7);
  assert.deepEqual(values, [40, 10, 30, 20]);
});
