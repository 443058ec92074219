import { MOST_UNITS, type UnitCounts } from "./scale.ts";

const DAY_MINUTES = 24 * 60;
const MINUTE_MS = 60_000;

const linePattern = /^([01]\d|2[0-3]):([0-5]\d)\s+(\S+)$/;
const zonePattern = /^utc([+-])(0\d|1[0-4]):([0-5]\d)$/i;

/** How many units serve from which time of the day on. */
export interface ScaleSchedule {
  /** Minutes that its clock is ahead of UTC. */
  readonly offset: number;
  /** Ascending by minute of the day; what the last one says holds until the first one on the next day. */
  readonly entries: readonly { readonly minute: number; readonly units: UnitCounts }[];
}

/**
 * Reads a schedule: a line for each change, `08:30 prefill=29,decode=9`, by UTC's clock or the one that a line
 * such as `UTC+08:00` names. `#` begins a comment.
 * @throws Error that names the line
 */
export function parseScaleSchedule(text: string): ScaleSchedule {
  let offset = 0;
  const entries: { minute: number; units: UnitCounts }[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    const said = line.replace(/#.*/, "").trim();
    if (said === "") continue;
    const zone = zonePattern.exec(said);
    if (zone) offset = (zone[1] === "-" ? -1 : 1) * (60 * Number(zone[2]) + Number(zone[3]));
    else entries.push(entryOf(said, index + 1));
  }
  if (entries.length === 0) throw new Error("expected a line such as 08:30 prefill=29,decode=9");
  entries.sort((a, b) => a.minute - b.minute);
  const twice = entries.find(({ minute }, i) => entries[i + 1]?.minute === minute);
  if (twice) throw new Error(`${clockOf(twice.minute)} is there twice`);
  return { offset, entries };
}

function entryOf(said: string, line: number): { minute: number; units: UnitCounts } {
  const [, hours, minutes, counts] = linePattern.exec(said) ?? [];
  if (counts === undefined) {
    throw new Error(`line ${line}: expected 08:30 prefill=29,decode=9, got ${said}`);
  }
  const units: { prefill?: number; decode?: number } = {};
  for (const part of counts.split(",")) {
    const [, role, count] = /^(prefill|decode)=([1-9]\d*)$/.exec(part) ?? [];
    if (role === undefined || units[role as keyof UnitCounts] !== undefined) {
      throw new Error(`line ${line}: expected prefill=29,decode=9, got ${counts}`);
    }
    if (Number(count) > MOST_UNITS) {
      const clock = `${hours}:${minutes}`;
      throw new Error(`line ${line}: ${clock}: expected at most ${MOST_UNITS} units, got ${part}`);
    }
    units[role as keyof UnitCounts] = Number(count);
  }
  const { prefill, decode } = units;
  if (prefill === undefined || decode === undefined) {
    throw new Error(`line ${line}: expected prefill and decode, got ${counts}`);
  }
  return { minute: 60 * Number(hours) + Number(minutes), units: { prefill, decode } };
}

/** What is to serve at a time: milliseconds since 1970. */
export function scheduledUnits({ offset, entries }: ScaleSchedule, time: number): UnitCounts {
  const minute = Math.floor(time / MINUTE_MS) + offset;
  const ofDay = ((minute % DAY_MINUTES) + DAY_MINUTES) % DAY_MINUTES;
  const last = entries[entries.length - 1];
  return (entries.findLast((entry) => entry.minute <= ofDay) ?? last).units;
}

const clockOf = (minute: number) =>
  [Math.floor(minute / 60), minute % 60].map((part) => String(part).padStart(2, "0")).join(":");
