import assert from "node:assert/strict";
import { test } from "node:test";
import { drawSchedule } from "./chaos-schedule.ts";
import { runSchedule, scriptedModel } from "./virtual-chaos-fixtures.ts";

/** Of `npm run soak:chaos`, which runs thousands. */
const SCHEDULES = 24;

test("whatever befalls all ranks but those of one unit, nothing is lost", async () => {
  const model = await scriptedModel();
  const sums = { finished: 0, cancelled: 0, resumed: 0, lostRanks: 0 };
  for (let seed = 1; seed <= SCHEDULES; seed++) {
    const { problems, ...counts } = await runSchedule(drawSchedule(seed), model);
    assert.deepEqual(problems, [], `npm run soak:chaos -- 1 ${seed}`);
    for (const name of Object.keys(sums) as (keyof typeof sums)[]) sums[name] += counts[name];
  }
  for (const [name, count] of Object.entries(sums)) assert.ok(count > SCHEDULES / 4, name);
});

test("a rank that breaks after a request was taken from it counts against the request", async () => {
  const model = await scriptedModel();
  for (const seed of [60_717, 62_690]) {
    const { problems } = await runSchedule(drawSchedule(seed), model);
    assert.deepEqual(problems, [], `npm run soak:chaos -- 1 ${seed}`);
  }
});

test("a schedule runs alike twice", async () => {
  const model = await scriptedModel();
  const schedule = drawSchedule(3);
  assert.deepEqual(drawSchedule(3), schedule);
  assert.deepEqual(await runSchedule(schedule, model), await runSchedule(schedule, model));
});
