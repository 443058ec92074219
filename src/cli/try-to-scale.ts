import type { Logger } from "pino";
import type { Engine, WantedUnits } from "../engine/index.ts";

/** What hears how many units are to serve. */
export type Scalable = Pick<Engine, "scale">;

/** From a timer, where nobody waits: a change that is refused is an error in the log, and the server serves on. */
export function tryToScale(
  engine: Scalable,
  wanted: WantedUnits,
  because: string,
  log: Pick<Logger, "error">,
): void {
  try {
    engine.scale(wanted, because);
  } catch (error) {
    log.error({ wanted, because, problem: (error as Error).message }, "units stay as they are");
  }
}
