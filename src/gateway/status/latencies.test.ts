import assert from "node:assert/strict";
import { test } from "node:test";
import { Latencies } from "./latencies.ts";

/** Of one sequence that is asked for at 0, with tokens at these times. */
function tokensAt(latencies: Latencies, ...times: number[]) {
  const watch = latencies.sequence(0);
  for (const time of times) watch.token(time);
  watch.end();
}

test("a first token is timed from the request, the others from the one before", () => {
  const latencies = new Latencies();
  tokensAt(latencies, 100, 110, 130);
  assert.deepEqual(latencies.firstToken(200), { p50: 100, p95: 100 });
  assert.deepEqual(latencies.perToken(200), { p50: 10, p95: 20 });
});

test("tokens that come together share the time that they took", () => {
  const latencies = new Latencies();
  tokensAt(latencies, 100, 130, 130, 130);
  assert.deepEqual(latencies.perToken(200), { p50: 10, p95: 10 });
});

test("first tokens that come with others are timed once", () => {
  const latencies = new Latencies();
  tokensAt(latencies, 100, 100, 140);
  assert.deepEqual(latencies.firstToken(200), { p50: 100, p95: 100 });
  assert.deepEqual(latencies.perToken(200), { p50: 40, p95: 40 });
});

test("percentiles are of values that there were: the least that so much does not exceed", () => {
  const latencies = new Latencies();
  for (let value = 1; value <= 100; value++) tokensAt(latencies, value);
  assert.deepEqual(latencies.firstToken(200), { p50: 50, p95: 95 });
});

test("what is longer ago than a minute is not told", () => {
  const latencies = new Latencies();
  tokensAt(latencies, 100, 110);
  assert.notEqual(latencies.perToken(60_000), null);
  assert.equal(latencies.firstToken(60_100), null);
  assert.equal(latencies.perToken(60_110), null);
  assert.equal(new Latencies().firstToken(0), null);
});

test("of very many values the last are told", () => {
  const latencies = new Latencies();
  for (let i = 0; i < 3000; i++) tokensAt(latencies, 10);
  for (let i = 0; i < 2048; i++) tokensAt(latencies, 70);
  assert.deepEqual(latencies.firstToken(200), { p50: 70, p95: 70 });
});
