import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { intersect, lengthOf, subtract, union, type Interval } from "./intervals.ts";

const GRID = 40;

/** Intervals on whole numbers, some of them empty. */
const intervals = fc.array(
  fc
    .tuple(fc.integer({ min: 0, max: GRID }), fc.integer({ min: 0, max: GRID }))
    .map(([a, b]): Interval => ({ start: Math.min(a, b), end: Math.max(a, b) })),
  { maxLength: 12 },
);

/** Whether each unit of the grid is covered: the slow way to say the same. */
function unitsOf(given: readonly Interval[]): boolean[] {
  return Array.from({ length: GRID }, (_, unit) =>
    given.some(({ start, end }) => start <= unit && unit < end),
  );
}

test("a union covers what its intervals cover, in order, apart and none of it twice", () => {
  fc.assert(
    fc.property(intervals, (given) => {
      const merged = union(given);
      assert.deepEqual(unitsOf(merged), unitsOf(given));
      merged.forEach(({ start, end }, i) => {
        assert.ok(start < end);
        if (i > 0) assert.ok(merged[i - 1].end < start);
      });
    }),
  );
});

test("an intersection covers what both unions cover", () => {
  fc.assert(
    fc.property(intervals, intervals, (a, b) => {
      const [unitsOfA, unitsOfB] = [unitsOf(a), unitsOf(b)];
      assert.deepEqual(
        unitsOf(intersect(union(a), union(b))),
        unitsOfA.map((covered, unit) => covered && unitsOfB[unit]),
      );
    }),
  );
});

test("what is left of a union covers what the other does not", () => {
  fc.assert(
    fc.property(intervals, intervals, (a, b) => {
      const [unitsOfA, unitsOfB] = [unitsOf(a), unitsOf(b)];
      const left = subtract(union(a), union(b));
      assert.deepEqual(
        unitsOf(left),
        unitsOfA.map((covered, unit) => covered && !unitsOfB[unit]),
      );
      assert.equal(lengthOf(left), unitsOf(left).filter(Boolean).length);
    }),
  );
});

test("a union is as long as the units it covers", () => {
  fc.assert(
    fc.property(intervals, (given) => {
      assert.equal(lengthOf(union(given)), unitsOf(given).filter(Boolean).length);
    }),
  );
});
