import assert from "node:assert/strict";
import { test } from "node:test";
import { brief, bytes, dollars, duration, milliseconds, share } from "./format.ts";

const all = <Value>(format: (value: Value) => string, ...values: Value[]) => values.map(format);

test("what moves has three digits at most", () => {
  assert.deepEqual(all(brief, 0, 7, 999, 1234, 1_234_567), ["0", "7", "999", "1.23K", "1.23M"]);
  assert.deepEqual(all(bytes, 0, 999, 4_200_000, 2.8e9), ["0 B", "999 B", "4.2 MB", "2.8 GB"]);
});

test("times are told in the unit that one reads them in", () => {
  assert.deepEqual(all(milliseconds, 0.44, 9.96, 56.4, 999, 7840), [
    ...["0.4 ms", "10 ms", "56 ms", "999 ms", "7.8 s"],
  ]);
  assert.deepEqual(all(duration, 6.9, 300, 11_040, 183_600), [
    ...["6 s", "5 min", "3 h 4 min", "2 d 3 h"],
  ]);
});

test("small amounts have more decimals, and nothing is no share", () => {
  assert.deepEqual(all(dollars, "0.00001234", "1.5", "1234.5"), [
    ...["$0.0000123", "$1.50", "$1,234.50"],
  ]);
  assert.equal(share(0, 0), "–");
  assert.equal(share(563, 1000), "56.3%");
});
