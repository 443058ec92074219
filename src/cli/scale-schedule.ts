import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import { parseScaleSchedule, scheduledUnits, type ScaleSchedule } from "../balancing/index.ts";
import { textIf, textOf, UsageError } from "./arguments.ts";
import { readTopology } from "./engine-options.ts";
import { tryToScale, type Scalable } from "./try-to-scale.ts";

/** Milliseconds between two looks at the clock. */
const LOOK_MS = 10_000;

/** What `--scale-schedule` says; undefined without it. */
export async function scheduleOf(
  flags: Readonly<Record<string, unknown>>,
): Promise<ScaleSchedule | undefined> {
  const file = textIf(flags, "scale-schedule");
  if (file === undefined) return undefined;
  const { units } = readTopology(textOf("topology", flags["topology"]));
  for (const role of ["prefill", "decode"]) {
    if (units.every((unit) => unit.role !== role)) {
      throw new UsageError(`--scale-schedule: expected ${role} units in --topology beside it`);
    }
  }
  try {
    return parseScaleSchedule(await readFile(file, "utf8"));
  } catch (error) {
    throw new UsageError(`--scale-schedule: ${file}: ${(error as Error).message}`);
  }
}

/** Has units come and go by the clock. What `daysix scale` asks for meanwhile holds until the next entry. */
export class ScheduledUnits {
  readonly #engine: Scalable;
  readonly #schedule: ScaleSchedule;
  readonly #log: Pick<Logger, "error">;
  #asked: string | undefined;

  constructor(engine: Scalable, schedule: ScaleSchedule, log: Pick<Logger, "error">) {
    this.#engine = engine;
    this.#schedule = schedule;
    this.#log = log;
  }

  /** @param now milliseconds since 1970 */
  look(now: number): void {
    const units = scheduledUnits(this.#schedule, now);
    const asked = JSON.stringify(units);
    if (asked === this.#asked) return;
    this.#asked = asked;
    tryToScale(this.#engine, units, "the schedule says so", this.#log);
  }
}

/** The engine has units of both roles. */
export function keepSchedule(
  engine: Scalable,
  schedule: ScaleSchedule,
  log: Pick<Logger, "error">,
): void {
  const units = new ScheduledUnits(engine, schedule, log);
  units.look(Date.now());
  setInterval(() => units.look(Date.now()), LOOK_MS).unref();
}
