import type { Logger } from "pino";
import type { UnitRole } from "../cluster/index.ts";
import type { Engine, UnitLife } from "../engine/index.ts";
import type { Accounts } from "../gateway/index.ts";

/** Tells log and ledger which units there are, whenever that has changed. */
export class FleetWatch {
  readonly #engine: Pick<Engine, "units" | "problems">;
  readonly #log: Logger;
  readonly #accounts: Accounts | undefined;
  #told: string | undefined;
  #recorded: string | undefined;
  /** A unit was lost, and since then not all have served. */
  #isInTrouble = false;
  #problems: readonly string[] = [];

  constructor(
    engine: Pick<Engine, "units" | "problems">,
    log: Logger,
    accounts: Accounts | undefined,
  ) {
    this.#engine = engine;
    this.#log = log;
    this.#accounts = accounts;
  }

  /** Rejects when the ledger cannot be written. */
  async begin(): Promise<void> {
    this.#told = describe(this.#engine.units);
    await this.#record();
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
    this.#record().catch((error: Error) => this.#log.error(error));
  }

  async #record(): Promise<void> {
    const nodes = nodesOf(this.#engine.units);
    const recorded = JSON.stringify(nodes);
    if (recorded === this.#recorded) return;
    this.#recorded = recorded;
    await this.#accounts?.setTopology(nodes);
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

/** Nodes by what their live ranks compute; every rank counts as an accelerator. */
function nodesOf(units: readonly UnitLife[]) {
  const live = units.filter(({ state }) => state !== "lost");
  const on = (role?: UnitRole) =>
    new Set(
      live.flatMap((unit) =>
        role === undefined || unit.role === role ? unit.ranks.map(({ node }) => node) : [],
      ),
    );
  const [all, prefill, decode] = [on(), on("prefill"), on("decode")];
  const ranks = live.reduce((sum, unit) => sum + unit.ranks.length, 0);
  const both = [...prefill].filter((node) => decode.has(node)).length;
  return {
    prefillNodes: prefill.size - both,
    decodeNodes: decode.size - both,
    combinedNodes: on("combined").size + both,
    acceleratorsPerNode: all.size === 0 ? 0 : ranks / all.size,
  };
}
