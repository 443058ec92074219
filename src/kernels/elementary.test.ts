import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { exponential, exponential32, logarithm, power, sineAndCosine } from "./elementary.ts";

function assertClose(actual: number, expected: number, units: number, what: string): void {
  const unit = Number.EPSILON * Math.max(Math.abs(expected), Number.MIN_VALUE / Number.EPSILON);
  assert.ok(Math.abs(actual - expected) <= units * unit, `${what}: ${actual}, not ${expected}`);
}

function turned(angle: number): { sine: number; cosine: number } {
  const out = { sine: NaN, cosine: NaN };
  sineAndCosine(out, angle);
  return out;
}

test("e^x is within two units in the last place of Math.exp", () => {
  // Drawn by their bits nearly all are next to 0.
  const exponents = [
    fc.double({ min: -707.9, max: 708, noNaN: true }),
    fc.integer({ min: -707_900_000, max: 708_000_000 }).map((n) => n / 1e6),
  ];
  fc.assert(
    fc.property(fc.oneof(...exponents), (x) =>
      assertClose(exponential(x), Math.exp(x), 2, `e^${x}`),
    ),
    { numRuns: 2000 },
  );
});

test("e^0 is 1, below −708 there is nothing, above 708 infinity, and of no number there is none", () => {
  assert.equal(exponential(0), 1);
  assert.equal(exponential(-0), 1);
  assert.ok(exponential(-708) > 0);
  assert.equal(exponential(-708.0000001), 0);
  assert.equal(exponential(-Infinity), 0);
  assert.ok(Number.isFinite(exponential(708)));
  assert.equal(exponential(709), Infinity);
  assert.equal(exponential(NaN), NaN);
});

test("logarithms and powers are within units in the last place of Math's", () => {
  fc.assert(
    fc.property(fc.double({ min: 1e-300, max: 1e300, noNaN: true }), (x) =>
      assertClose(logarithm(x), Math.log(x), 2, `ln ${x}`),
    ),
    { numRuns: 2000 },
  );
  assert.equal(logarithm(1), 0);
  fc.assert(
    fc.property(
      fc.double({ min: 1, max: 1e8, noNaN: true }),
      fc.integer({ min: -1_000_000, max: 0 }).map((n) => n / 1e6),
      (base, exponent) =>
        assertClose(power(base, exponent), base ** exponent, 64, `${base}^${exponent}`),
    ),
  );
});

test("sines and cosines of float32 angles are within two units in the last place of Math's", () => {
  const angles = [
    fc.float({ min: -100, max: 100, noNaN: true }),
    fc.float({ min: 0, max: 2 ** 26, noNaN: true }),
    // Next to where one of them is 0.
    fc.integer({ min: 0, max: 2 ** 20 }).map((n) => Math.fround((n * Math.PI) / 2)),
  ];
  fc.assert(
    fc.property(fc.oneof(...angles), (angle) => {
      const { sine, cosine } = turned(angle);
      assertClose(sine, Math.sin(angle), 2, `sin ${angle}`);
      assertClose(cosine, Math.cos(angle), 2, `cos ${angle}`);
    }),
    { numRuns: 5000 },
  );
});

test("the bits are the ones every machine has", () => {
  const bits = (x: number) => {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, x);
    return view.getBigUint64(0).toString(16);
  };
  const x = [-700.25, -20.5, -1, -0.1, 3.75, 700.5];
  assert.deepEqual(x.map(exponential).map(bits), [
    "caf5fe9a485c8e",
    "3e157a3afeed00ac",
    "3fd78b56362cef38",
    "3fecf46d99d52b3a",
    "404542b2d0a266e7",
    "7f18625c7d4f56c2",
  ]);
  const positive = [1e-3, 0.7, 3, 10000, 129280];
  assert.deepEqual(positive.map(logarithm).map(bits), [
    "c01ba18a998fffa0",
    "bfd6d3c324e13f50",
    "3ff193ea7aad030a",
    "40226bb1bbb55516",
    "40278a1ad208abb6",
  ]);
  const angles = [0.5, 2.25, 11, 4095, 163839];
  assert.deepEqual(angles.flatMap((angle) => Object.values(turned(angle))).map(bits), [
    "3fdeaee8744b05f0",
    "3fec1528065b7d50",
    "3fe8e5f9c2d0e3a9",
    "bfe419ff91b9ba6d",
    "bfefffeb762e93eb",
    "3f7220ae41ee2fe0",
    "bfefee26bf3a602e",
    "bfb0e3cd8b89b3a3",
    "bfef26eaa3047212",
    "3fcd4589dfe818a8",
  ]);
});

test("float32 exponentials lie within two units of the last place, and are never denormals", () => {
  for (let i = -8700; i <= 8800; i++) {
    const x = Math.fround(i / 100 + i * 1e-7);
    const error = Math.abs(exponential32(x) / Math.exp(x) - 1);
    assert.ok(error <= 2 ** -22, `e^${x}: error ${error}`);
  }
  assert.deepEqual([-Infinity, -104, -87.4].map(exponential32), [0, 0, 0]);
  assert.deepEqual([88.5, 104, Infinity].map(exponential32), [Infinity, Infinity, Infinity]);
  assert.ok(Number.isNaN(exponential32(NaN)));
});
