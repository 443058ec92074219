import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { parseTopology } from "../../cluster/index.ts";
import { ManualClock } from "../../cluster/fixtures.ts";
import { UnitKeeper } from "./unit-keeper.ts";

const nothing = () => undefined;

/** A keeper of combined units on one machine that has room for so many; starts and ends take no time. */
async function keep(room: number) {
  const clock = new ManualClock();
  const begun: number[] = [];
  const keeper = new UnitKeeper({
    ...{ topology: parseTopology("combined=1x1"), nodes: 1, sharesExperts: false, clock },
    place: async () => null,
    hands: {
      start: async (units, _, all) => {
        begun.push(...units.map(({ unit }) => unit));
        if (all.length > room) throw new Error(`no room for ${units.length} more`);
      },
      introduce: nothing,
      end: async () => undefined,
    },
    listener: { serving: nothing, draining: nothing, changed: nothing, hopeless: nothing },
  });
  keeper.join(0);
  await keeper.begin([null]);
  return { keeper, clock, begun };
}

const statesOf = ({ units }: UnitKeeper) => units.map(({ state }) => state).join();

test("of units that are wanted at once those serve for which there is room", async () => {
  const { keeper, clock } = await keep(3);
  keeper.scale({ combined: 5 });
  for (let turns = 0; turns < 20; turns++) await turn();
  assert.equal(statesOf(keeper), "serving,serving,serving,lost,lost");
  assert.deepEqual(keeper.problems, ["no room for 1 more", "no room for 1 more"]);
  for (let tries = 0; tries < 50; tries++) {
    clock.advanceToNext();
    await turn();
  }
  assert.equal(statesOf(keeper), "serving,serving,serving,lost,lost");
});

test("a unit that is wanted no more before its start has begun is never started", async () => {
  const { keeper, begun } = await keep(5);
  keeper.scale({ combined: 4 });
  keeper.scale({ combined: 2 });
  for (let turns = 0; turns < 20; turns++) await turn();
  assert.equal(statesOf(keeper), "serving,serving");
  assert.equal(begun.length, 2);
});
