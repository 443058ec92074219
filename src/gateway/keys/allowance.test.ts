import assert from "node:assert/strict";
import { test } from "node:test";
import { Allowance } from "./allowance.ts";
import type { NamedKey } from "./keys-file.ts";

const noon = Date.UTC(2026, 10, 29, 12);

function allowanceOf(limits: Partial<NamedKey>) {
  const clock = { now: noon };
  const key: NamedKey = { name: "ann", sha256: "", ...limits };
  return { clock, allowance: new Allowance(key, () => clock.now) };
}

const refused = (allowance: Allowance, code: string, seconds: number) =>
  assert.throws(() => allowance.assertRoom(), {
    ...{ status: 429, code, headers: { "retry-after": `${seconds}` } },
  });

test("a key without limits may ask anything", () => {
  const { allowance } = allowanceOf({});
  for (let i = 0; i < 100; i++) {
    allowance.assertRoom();
    allowance.begin();
    allowance.spend(10n ** 15n, noon);
  }
  allowance.end(1e9);
  allowance.assertRoom();
});

test("so many requests at a time, and one more when one has ended", () => {
  const { allowance } = allowanceOf({ concurrency: 2 });
  allowance.begin();
  allowance.assertRoom();
  allowance.begin();
  refused(allowance, "concurrency_limit", 1);
  allowance.end(5);
  allowance.assertRoom();
});

test("tokens come back with time, and those that are owed are waited for", () => {
  const { allowance, clock } = allowanceOf({ tokens_per_minute: 60 });
  allowance.begin();
  allowance.end(59);
  allowance.assertRoom();
  allowance.begin();
  allowance.end(30);
  // 29 are owed, and one is needed; one comes back each second.
  refused(allowance, "rate_limit_exceeded", 30);
  clock.now += 29_000;
  refused(allowance, "rate_limit_exceeded", 1);
  clock.now += 1000;
  allowance.assertRoom();
  // No more than a minute's are ever saved up.
  clock.now += 3_600_000;
  allowance.begin();
  allowance.end(61);
  refused(allowance, "rate_limit_exceeded", 2);
});

test("a budget is for a day or a month of UTC, and begins anew with the next", () => {
  const dollar = 10n ** 12n;
  const day = allowanceOf({ budget: { dollars: dollar, per: "day" } });
  day.allowance.spend(dollar, noon - 86_400_000);
  day.allowance.assertRoom();
  day.allowance.spend(dollar - 1n, noon);
  day.allowance.assertRoom();
  day.allowance.spend(1n, noon);
  refused(day.allowance, "insufficient_quota", 12 * 3600);
  day.clock.now += 12 * 3_600_000;
  day.allowance.assertRoom();
  const month = allowanceOf({ budget: { dollars: dollar, per: "month" } });
  month.allowance.spend(dollar, noon - 20 * 86_400_000);
  refused(month.allowance, "insufficient_quota", 36 * 3600);
});
