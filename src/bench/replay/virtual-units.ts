import { unitsOf, type ScaleRule, type UnitCounts } from "../../balancing/index.ts";

export type Role = keyof UnitCounts;

/** A unit of the fleet; its rank stands for all of them. */
export interface VirtualUnit {
  readonly role: Role;
  readonly rank: number;
  state: "off" | "starting" | "serving" | "draining";
  /** When it will serve, while it starts: seconds. */
  ready: number;
  /** Requests that are on it. */
  live: number;
}

const START_SECONDS = 120;

/** The fleet's units, brought up and down as a policy says. */
export class VirtualUnits {
  readonly all: readonly VirtualUnit[];
  readonly #rule: ScaleRule;

  constructor(rule: ScaleRule) {
    this.#rule = rule;
    const { prefill, decode } = unitsOf(rule, rule.mostGroups);
    this.all = Array.from({ length: prefill + decode }, (_, rank) => ({
      ...{ role: rank < prefill ? "prefill" : "decode", rank },
      ...{ state: "serving", ready: 0, live: 0 },
    }));
  }

  /** Ranks that are to be given nothing. */
  get closed(): Set<number> {
    return new Set(this.all.filter(({ state }) => state !== "serving").map(({ rank }) => rank));
  }

  /** Units that hold nodes: those that start or end among them. */
  held(role: Role): number {
    return this.all.filter((unit) => unit.role === role && unit.state !== "off").length;
  }

  /** Those that were last to come go first; what was to end stays, before others start. */
  scaleTo(groups: number, now: number): void {
    const wanted = unitsOf(this.#rule, groups);
    for (const role of ["prefill", "decode"] as const) {
      const units = this.all.filter((unit) => unit.role === role);
      const serving = units.filter(({ state }) => state === "serving" || state === "starting");
      for (const unit of serving.slice(wanted[role])) unit.state = "draining";
      const missing = wanted[role] - serving.length;
      const ending = units.filter(({ state }) => state === "draining");
      const off = units.filter(({ state }) => state === "off");
      for (const unit of [...ending, ...off].slice(0, Math.max(0, missing))) {
        const stays = unit.state === "draining";
        Object.assign(unit, stays ? { state: "serving" } : { state: "starting" });
        if (!stays) unit.ready = now + START_SECONDS;
      }
    }
  }

  /** Units that have started serve; those that have ended their last request hold no nodes. */
  settle(now: number): void {
    for (const unit of this.all) {
      if (unit.state === "starting" && unit.ready <= now) unit.state = "serving";
      if (unit.state === "draining" && unit.live === 0) unit.state = "off";
    }
  }
}
