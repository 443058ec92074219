import { systemClock, type Clock } from "../cluster/index.ts";
import { askServer, type Scaling, type Server } from "../gateway/index.ts";
import { UsageError } from "./arguments.ts";
import { urlProblem } from "./server.ts";

type Unit = Scaling["units"][number];

/** Milliseconds between two looks at the server's units. */
const LOOK_MS = 200;

/**
 * `daysix scale`: so many units serve, which is waited for.
 * @throws Error with what keeps units from starting, or with what serves when the time is over
 */
export async function scale(options: {
  readonly server: Server;
  /** Units of each role that is named. */
  readonly wanted: Readonly<Record<string, number>>;
  /** Undefined: of the only one that is served. */
  readonly model?: string | undefined;
  readonly timeoutMs: number;
  readonly json: boolean;
  readonly clock?: Clock;
}): Promise<void> {
  const { server, wanted, model, timeoutMs, json, clock = systemClock } = options;
  const late = new AbortController();
  const cancel = clock.after(timeoutMs, () => late.abort());
  let units: readonly Unit[] = [];
  const look = async (asked: object) => {
    const response = await askServer(server, "/scale", { model, ...asked }, late.signal);
    const now = (await response.json()) as Scaling;
    ({ units } = now);
    return now;
  };
  try {
    const began = clock.now();
    await look(wanted).catch((error: Error) => {
      if (late.signal.aborted) throw error;
      throw urlProblem(error);
    });
    const seconds: Record<string, number> = {};
    for (;;) {
      for (const [role, count] of Object.entries(wanted)) {
        if (isReached(units, role, count)) seconds[role] ??= (clock.now() - began) / 1000;
        else delete seconds[role];
      }
      if (Object.keys(seconds).length === Object.keys(wanted).length) break;
      await new Promise<void>((resolve) => clock.after(LOOK_MS, resolve));
      const { problems } = await look({});
      if (problems.length > 0) throw new Error(problems.join("; "));
    }
    print(units, seconds, wanted, json);
  } catch (error) {
    if (!late.signal.aborted) throw error;
    const serving = Object.entries(wanted).map(([role, count]) => {
      const own = units.filter((unit) => unit.role === role && unit.state === "serving");
      return `${role}: ${own.length} serving, not ${count}`;
    });
    const said = `${serving.join(", ")} after ${timeoutMs / 1000} s; the server goes on trying`;
    throw new Error(said, { cause: error });
  } finally {
    cancel();
  }
}

function print(
  units: readonly Unit[],
  seconds: Readonly<Record<string, number>>,
  wanted: Readonly<Record<string, number>>,
  json: boolean,
): void {
  if (json) console.log(JSON.stringify({ units, seconds }));
  else {
    for (const [role, count] of Object.entries(wanted)) {
      console.log(`${role}: ${count} serving, after ${seconds[role].toFixed(1)} s`);
    }
  }
}

/** Whether so many serve and no other unit of the role is on its way in or out. */
function isReached(units: readonly Unit[], role: string, count: number): boolean {
  const own = units.filter((unit) => unit.role === role);
  return own.length === count && own.every(({ state }) => state === "serving");
}

/** `prefill=1,decode=2` */
export function wantedOf(text: string): Record<string, number> {
  const wanted: Record<string, number> = {};
  for (const part of text.split(",")) {
    const [, role, count] = /^\s*(prefill|decode|combined)=(\d{1,5})\s*$/.exec(part) ?? [];
    if (!role || Number(count) < 1 || role in wanted) {
      throw new UsageError(`expected units as in prefill=1,decode=2, got "${text}"`);
    }
    wanted[role] = Number(count);
  }
  return wanted;
}
