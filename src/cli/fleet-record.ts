import type { UnitRole } from "../cluster/index.ts";
import type { Engine, UnitLife } from "../engine/index.ts";
import type { Accounts } from "../gateway/index.ts";

/** Tells the ledger which nodes compute for a server's models, whenever that has changed. */
export class FleetRecord {
  readonly #engines: readonly Pick<Engine, "units">[];
  readonly #accounts: Pick<Accounts, "setTopology">;
  #recorded: string | undefined;

  constructor(engines: readonly Pick<Engine, "units">[], accounts: Pick<Accounts, "setTopology">) {
    this.#engines = engines;
    this.#accounts = accounts;
  }

  /** Rejects when the ledger cannot be written. */
  async look(): Promise<void> {
    const nodes = nodesOf(this.#engines.map(({ units }) => units));
    const recorded = JSON.stringify(nodes);
    if (recorded === this.#recorded) return;
    this.#recorded = recorded;
    await this.#accounts.setTopology(nodes);
  }
}

/** The process that all engines are in; their other nodes are their own. */
const COMMON_NODE = 0;

/** Nodes by what their live ranks compute, of whichever model; every rank counts as an accelerator. */
function nodesOf(engines: readonly (readonly UnitLife[])[]) {
  const live = engines.flatMap((units, engine) =>
    units
      .filter(({ state }) => state !== "lost")
      .map(({ role, ranks }) => {
        const nameOf = (node: number) => (node === COMMON_NODE ? "" : `${engine} ${node}`);
        return { role, nodes: ranks.map(({ node }) => nameOf(node)) };
      }),
  );
  const on = (...roles: readonly UnitRole[]) =>
    new Set(live.flatMap((unit) => (roles.includes(unit.role) ? unit.nodes : [])));
  const [prefill, decode, combined] = [on("prefill"), on("decode"), on("combined")];
  const all = on("prefill", "decode", "combined");
  const ranks = live.reduce((sum, unit) => sum + unit.nodes.length, 0);
  const both = [...all].filter(
    (node) => combined.has(node) || (prefill.has(node) && decode.has(node)),
  );
  const only = (nodes: ReadonlySet<string>) =>
    [...nodes].filter((node) => !both.includes(node)).length;
  return {
    prefillNodes: only(prefill),
    decodeNodes: only(decode),
    combinedNodes: both.length,
    acceleratorsPerNode: all.size === 0 ? 0 : ranks / all.size,
  };
}
