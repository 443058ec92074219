import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { exponential } from "./exponential.ts";

test("e^x is within two units in the last place of Math.exp", () => {
  fc.assert(
    fc.property(fc.double({ min: -707.9, max: 0, noNaN: true }), (x) => {
      const expected = Math.exp(x);
      assert.ok(Math.abs(exponential(x) - expected) <= 2 * Number.EPSILON * expected, `e^${x}`);
    }),
    { numRuns: 2000 },
  );
});

test("e^0 is 1, and below −708 there is nothing", () => {
  assert.equal(exponential(0), 1);
  assert.equal(exponential(-0), 1);
  assert.ok(exponential(-708) > 0);
  assert.equal(exponential(-708.0000001), 0);
  assert.equal(exponential(-Infinity), 0);
});

test("the bits are the ones every machine has", () => {
  const bits = (x: number) => {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, exponential(x));
    return view.getBigUint64(0).toString(16);
  };
  assert.deepEqual([-0.1, -1, -20.5, -700.25].map(bits), [
    "3fecf46d99d52b3a",
    "3fd78b56362cef38",
    "3e157a3afeed00ac",
    "caf5fe9a485c8e",
  ]);
});
