import assert from "node:assert/strict";
import { test } from "node:test";
import { RequestTimes } from "./request-times.ts";

function begin(admitted: number) {
  const heard: string[] = [];
  const hear = (what: string) => (value: number) => void heard.push(`${what} ${value}`);
  const [queued, firstToken, nextToken, resumed] = ["queued", "first", "next", "again"].map(hear);
  return { heard, times: new RequestTimes(admitted, { queued, firstToken, nextToken, resumed }) };
}

test("a sequence's time is cut at its first token and its last, and heard as it is summed up", () => {
  const { times, heard } = begin(1000);
  const [one, other] = [times.sequence(), times.sequence()];
  times.sequence().started(1500);
  one.started(1000);
  for (const time of [1150, 1170, 1200]) one.token(time);
  one.resume(101);
  other.token(1400);
  other.resume(37);
  assert.deepEqual(times.sums, {
    ...{ sequences: 2, firstTokenMs: 150 + 400, decodeMs: 50 },
    ...{ resumed: 2, recomputedTokens: 138 },
  });
  assert.deepEqual(heard, [
    ...["queued 0.5", "queued 0", "first 0.15", "next 0.02", "next 0.03", "again 101"],
    ...["first 0.4", "again 37"],
  ]);
});

test("a clock that is set back takes no time from anybody", () => {
  const { times } = begin(1000);
  const sequence = times.sequence();
  sequence.started(900);
  sequence.token(800);
  sequence.token(700);
  const { firstTokenMs, decodeMs } = times.sums;
  assert.deepEqual([firstTokenMs, decodeMs], [0, 0]);
});
