import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { merge } from "./merge.ts";

async function* counter(name: string, count: number, log: string[] = []) {
  try {
    for (let index = 0; index < count; index++) {
      await turn();
      log.push(`${name}${index}`);
      yield `${name}${index}`;
    }
  } finally {
    log.push(`${name} left`);
  }
}

test("every value of every source arrives, each source's in order", async () => {
  const values: string[] = [];
  for await (const value of merge([counter("a", 3), counter("b", 5), counter("c", 0)])) {
    values.push(value);
  }
  assert.deepEqual(
    values.filter((value) => value.startsWith("a")),
    ["a0", "a1", "a2"],
  );
  assert.deepEqual(values.toSorted(), ["a0", "a1", "a2", "b0", "b1", "b2", "b3", "b4"]);
});

test("a reader that does not read holds back its sources", async () => {
  const log: string[] = [];
  const merged = merge([counter("a", 100, log), counter("b", 100, log)]);
  await merged.next();
  for (let turns = 0; turns < 20; turns++) await turn();
  assert.deepEqual(log, ["a0", "b0"]);
  await merged.return(undefined);
});

test("leaving early and a source's failure end all sources", async () => {
  const log: string[] = [];
  const failing = (async function* () {
    await turn();
    yield "x";
    throw new Error("broken");
  })();
  const merged = merge([counter("a", 100, log), failing]);
  await assert.rejects(async () => {
    for await (const value of merged) assert.ok(value);
  }, /broken/);
  await turn();
  await turn();
  assert.equal(log.at(-1), "a left");
});
