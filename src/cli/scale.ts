import { setTimeout as delay } from "node:timers/promises";
import { askServer, type Scaling, type Server } from "../gateway/index.ts";
import { UsageError } from "./arguments.ts";

type Unit = Scaling["units"][number];

/** Milliseconds between two looks at the server's units. */
const LOOK_MS = 200;

/**
 * `daysix scale`: so many units serve, which is waited for.
 * @throws Error with what keeps units from starting
 */
export async function scale(options: {
  readonly server: Server;
  /** Units of each role that is named. */
  readonly wanted: Readonly<Record<string, number>>;
  readonly json: boolean;
}): Promise<void> {
  const { server, wanted, json } = options;
  const began = performance.now();
  const ask = async (path: string, body?: object) => {
    const response = await askServer(server, path, body).catch((error: Error) => {
      throw new UsageError(`--url: ${error.message}`);
    });
    return (await response.json()) as Scaling;
  };
  let { units } = await ask("/scale", wanted);
  const seconds: Record<string, number> = {};
  for (let left = Object.keys(wanted); left.length > 0;) {
    left = left.filter((role) => !isReached(units, role, wanted[role]));
    for (const role of Object.keys(wanted)) {
      if (!left.includes(role)) seconds[role] ??= (performance.now() - began) / 1000;
    }
    if (left.length === 0) break;
    await delay(LOOK_MS);
    const now = await ask("/scale", {});
    if (now.problems.length > 0) throw new Error(now.problems.join("; "));
    ({ units } = now);
  }
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
