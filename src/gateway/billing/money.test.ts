import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { z } from "zod";
import { charge, exactDollars, parseDollars, rate, roundedDollars, totalOf } from "./money.ts";

const amount = fc.bigInt({ min: 0n, max: 10n ** 24n });
const tokens = fc.record({
  hit: fc.nat({ max: 1e12 }),
  miss: fc.nat({ max: 1e12 }),
  output: fc.nat({ max: 1e12 }),
});
const picodollarsPerToken = fc.bigInt({ min: 0n, max: 10n ** 9n });
const rates = fc.record({
  hit: picodollarsPerToken,
  miss: picodollarsPerToken,
  output: picodollarsPerToken,
});

test("requests charged one by one cost what their tokens cost together", () => {
  fc.assert(
    fc.property(fc.array(tokens), rates, (requests, price) => {
      const parts = requests.map((each) => totalOf(charge(each, price)));
      const together = { hit: 0, miss: 0, output: 0 };
      for (const each of requests) {
        together.hit += each.hit;
        together.miss += each.miss;
        together.output += each.output;
      }
      const whole = charge(together, price);
      assert.equal(
        parts.reduce((sum, part) => sum + part, 0n),
        totalOf(whole),
      );
      assert.equal(totalOf(whole), whole.hit + whole.miss + whole.output);
    }),
  );
});

test("a million tokens cost the price as it is written", () => {
  fc.assert(
    fc.property(picodollarsPerToken, (price) => {
      const { hit, miss, output } = charge(
        { hit: 1e6, miss: 0, output: 0 },
        { hit: price, miss: price, output: price },
      );
      assert.equal(exactDollars(hit), z.encode(rate, price));
      assert.equal(miss + output, 0n);
    }),
  );
});

test("dollars are read back as they were written, to the last digit", () => {
  fc.assert(
    fc.property(amount, (picodollars) => {
      assert.equal(parseDollars(exactDollars(picodollars)), picodollars);
    }),
  );
  assert.equal(exactDollars(-33_500_000n), "-0.0000335");
  assert.equal(parseDollars("2"), 2_000_000_000_000n);
  for (const text of ["", "-1", "1.", ".5", "1e3", "0x1", "1,000", "0.0000000000001", " 1"]) {
    assert.equal(parseDollars(text), undefined, text);
  }
});

test("prices are strings or numbers of at most six decimals", () => {
  assert.equal(rate.parse("0.003625"), 3625n);
  assert.equal(rate.parse(2.19), 2_190_000n);
  for (const written of ["0.0000001", 1e-7, "free", -1, "", null]) {
    assert.equal(rate.safeParse(written).success, false, String(written));
  }
});

test("printed dollars are rounded half up and never by more than half a unit", () => {
  assert.equal(roundedDollars(87_072n * 10n ** 12n, 2), "$87,072.00");
  assert.equal(roundedDollars(1_234_567n * 10n ** 12n + 5n * 10n ** 11n, 0), "$1,234,568");
  assert.equal(roundedDollars(5_000_000_000n, 2), "$0.01");
  assert.equal(roundedDollars(4_999_999_999n, 2), "$0.00");
  assert.equal(roundedDollars(-5_000_000_000n, 2), "-$0.01");
  fc.assert(
    fc.property(amount, fc.integer({ min: 0, max: 6 }), (picodollars, decimals) => {
      const printed = roundedDollars(picodollars, decimals).replace(/[$,]/g, "");
      const error = (parseDollars(printed) ?? 0n) - picodollars;
      const unit = 10n ** BigInt(12 - decimals);
      assert.ok(2n * error <= unit && -2n * error < unit);
    }),
  );
});
