import type { Logger } from "pino";
import type { Engine } from "../engine/index.ts";
import { oneOf } from "./arguments.ts";

/** Milliseconds between two looks at the experts' loads. */
const LOOK_MS = 500;

/** Whether units place their experts by themselves. */
export function balancesItself(flags: Readonly<Record<string, unknown>>): boolean {
  return oneOf("rebalance", flags["rebalance"], ["auto", "off"]) === "auto";
}

/** Has the engine's units move experts where that pays, and tells the log. */
export function keepBalanced(engine: Engine, log: Pick<Logger, "info">): void {
  let isLooking = false;
  const look = async () => {
    // Ranks that have all experts share none.
    if (isLooking || engine.placements.every((placement) => placement === null)) return;
    isLooking = true;
    try {
      for (const { unit, before, after } of await engine.balance()) {
        log.info({ unit, before, after }, "a layer's experts were placed anew");
      }
    } catch {
      // An engine that has ended says so itself.
    } finally {
      isLooking = false;
    }
  };
  setInterval(() => void look(), LOOK_MS).unref();
}
