import type { Logger } from "pino";
import type { Engine, UnitLife } from "../engine/index.ts";

type Units = Pick<Engine, "units" | "problems">;

/** Tells the log which units an engine has, whenever that has changed. */
export class FleetWatch {
  readonly #engine: Units;
  readonly #log: Logger;
  #told: string;
  /** A unit was lost, and since then not all have served. */
  #isInTrouble = false;
  #problems: readonly string[] = [];

  constructor(engine: Units, log: Logger) {
    this.#engine = engine;
    this.#log = log;
    this.#told = describe(engine.units);
  }

  look(): void {
    const { units, problems } = this.#engine;
    const told = describe(units);
    if (told !== this.#told) {
      // Who was told that a unit is lost is told that it serves again.
      this.#isInTrouble ||= units.some(({ state }) => state === "lost");
      this.#log[this.#isInTrouble ? "warn" : "info"]({ units: told }, "units");
      if (units.every(({ state }) => state === "serving")) this.#isInTrouble = false;
      this.#told = told;
    }
    for (const problem of problems) {
      if (!this.#problems.includes(problem)) this.#log.error({ problem }, "a unit did not start");
    }
    this.#problems = problems;
  }
}

/** Ranks that end one by one are no news. */
const describe = (units: readonly UnitLife[]): string =>
  units
    .map(({ unit, role, state, ranks }) => {
      const hasRanks = state === "starting" || state === "serving";
      return `${unit} ${role}${hasRanks ? ` x${ranks.length}` : ""} ${state}`;
    })
    .join(", ");
