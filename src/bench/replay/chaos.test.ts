import assert from "node:assert/strict";
import { test } from "node:test";
import { drawLosses } from "./chaos-schedule.ts";
import { drawRecovery } from "./recovery-schedule.ts";
import { runSchedule, scriptedModel } from "./virtual-chaos-fixtures.ts";

/** Of `npm run soak:chaos`, which runs thousands. */
const SCHEDULES = 16;

const kinds = [
  ["whatever befalls all ranks but those of one unit, nothing is lost", drawLosses],
  ["whatever is lost and comes again, is started and drained, nothing is lost", drawRecovery],
] as const;

for (const [what, draw] of kinds) {
  test(what, async () => {
    const model = await scriptedModel();
    const sums = { finished: 0, cancelled: 0, resumed: 0, lostRanks: 0, startedUnits: 0 };
    for (let seed = 1; seed <= SCHEDULES; seed++) {
      const { problems, ...counts } = await runSchedule(draw(seed), model);
      assert.deepEqual(problems, [], `npm run soak:chaos -- 2 ${seed}`);
      for (const name of Object.keys(sums) as (keyof typeof sums)[]) sums[name] += counts[name];
    }
    const { startedUnits, ...others } = sums;
    assert.equal(startedUnits > 0, draw === drawRecovery);
    for (const [name, count] of Object.entries(others)) assert.ok(count > SCHEDULES / 4, name);
  });
}

test("a rank that breaks after a request was taken from it counts against the request", async () => {
  const model = await scriptedModel();
  for (const seed of [60_717, 62_690]) {
    const { problems } = await runSchedule(drawLosses(seed), model);
    assert.deepEqual(problems, [], `npm run soak:chaos -- 2 ${seed}`);
  }
});

test("a rank of a unit that is forgotten, or does not serve yet, may be lost", async () => {
  const model = await scriptedModel();
  for (const seed of [102, 114]) {
    const { problems } = await runSchedule(drawRecovery(seed), model);
    assert.deepEqual(problems, [], `npm run soak:chaos -- 2 ${seed}`);
  }
});

test("a schedule runs alike twice", async () => {
  const model = await scriptedModel();
  for (const [, draw] of kinds) {
    const schedule = draw(3);
    assert.deepEqual(draw(3), schedule);
    assert.deepEqual(await runSchedule(schedule, model), await runSchedule(schedule, model));
  }
});
