import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { parseScaleSchedule } from "../balancing/index.ts";
import type { WantedUnits } from "../engine/index.ts";
import { temporaryFile } from "../trace/fixtures.ts";
import { ScheduledUnits, scheduleOf } from "./scale-schedule.ts";

const at = (clock: string) => Date.parse(`2026-03-01T${clock}:00Z`);

test("units come and go when the clock says so, and what was asked between holds until then", () => {
  const asked: object[] = [];
  const schedule = parseScaleSchedule("08:30 prefill=3,decode=2\n22:00 prefill=1,decode=1");
  const engine = { scale: (wanted: object) => asked.push(wanted) };
  const units = new ScheduledUnits(engine, schedule, { error: assert.fail });
  for (const clock of ["08:00", "08:29", "08:30", "12:00", "21:59", "22:00"]) units.look(at(clock));
  assert.deepEqual(asked, [
    { prefill: 1, decode: 1 },
    { prefill: 3, decode: 2 },
    { prefill: 1, decode: 1 },
  ]);
});

test("units that the engine refuses are an error in the log, and the next entry holds", () => {
  const told: object[] = [];
  const asked: object[] = [];
  const engine = {
    scale: (wanted: WantedUnits) => {
      if (wanted.prefill === 3) throw new RangeError("there are no prefill units");
      asked.push(wanted);
    },
  };
  const schedule = parseScaleSchedule("08:30 prefill=3,decode=2\n22:00 prefill=1,decode=1");
  const units = new ScheduledUnits(engine, schedule, { error: (what: object) => told.push(what) });
  for (const clock of ["08:30", "08:40", "22:00"]) units.look(at(clock));
  const because = "the schedule says so";
  const problem = "there are no prefill units";
  assert.deepEqual(told, [{ wanted: { prefill: 3, decode: 2 }, because, problem }]);
  assert.deepEqual(asked, [{ prefill: 1, decode: 1 }]);
});

test("a schedule that cannot be read is named with its line", async (t) => {
  const file = temporaryFile(t);
  writeFileSync(file, "08:30 prefill=3,decode=2\n25:00 prefill=1,decode=1");
  const message = /^--scale-schedule: .*: line 2: expected 08:30/;
  const topology = "prefill=1x1,decode=1x1";
  const bad = { scaleSchedule: file, topology };
  await assert.rejects(scheduleOf(bad), { name: "UsageError", message });
  writeFileSync(file, "09:00 prefill=5000,decode=2");
  await assert.rejects(scheduleOf(bad), {
    name: "UsageError",
    message: `--scale-schedule: ${file}: line 1: 09:00: expected at most 1024 units, got prefill=5000`,
  });
  const missing = { scaleSchedule: `${file}-missing`, topology };
  await assert.rejects(scheduleOf(missing), { message: /^--scale-schedule: .*ENOENT/ });
  assert.equal(await scheduleOf({}), undefined);
  await assert.rejects(scheduleOf({ ...bad, topology: "combined=2x1" }), {
    message: "--scale-schedule: expected prefill units in --topology beside it",
  });
});
