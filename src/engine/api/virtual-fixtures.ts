import { setImmediate as turn } from "node:timers/promises";
import { PeerLostError, parseTopology, type Transport } from "../../cluster/index.ts";
import type { ManualClock } from "../../cluster/fixtures.ts";
import { Mailbox } from "../../cluster/ranks/mailbox.ts";
import type { ModelConfig } from "../../model/index.ts";
import { firstUnits, placeOf, planFleet, type FleetPlan } from "../fleet/fleet-plan.ts";
import type { FleetListener, RankFleet, RankHandle } from "../fleet/rank-handle.ts";
import type { UnitLife } from "../fleet/unit-table.ts";
import type { RankCommand } from "../messages.ts";
import type { CoreOptions } from "../rank/core-options.ts";
import { EngineCore, Rank, RankLoop } from "../rank/index.ts";
import { UnitClock } from "../rank/unit.ts";
import { Engine } from "./client.ts";
import type { EngineObserver } from "./engine-options.ts";

export interface VirtualOptions {
  readonly topology: string;
  /** Processes that the ranks of each unit are spread over, or that each unit has to itself. */
  readonly nodes?: number | readonly number[];
  /** Whether the ranks of a unit step together, as those that share experts do. */
  readonly sharesExperts?: boolean;
  readonly config: ModelConfig;
  readonly clock: ManualClock;
  readonly stepRows: number;
  /** Virtual milliseconds that the next message takes. */
  readonly linkMs: () => number;
  /** What each rank is made of. */
  readonly core: (rank: number) => Omit<CoreOptions, "transport" | "unit" | "clock">;
  readonly observer?: EngineObserver;
}

/** How ranks are lost, and when others hear of it. */
export interface VirtualLoss {
  readonly reason: string;
  readonly isOwnFault?: boolean;
  /** Virtual milliseconds, drawn for each who hears of it. */
  readonly heardAfter?: () => number;
  /** Whether what is on its way from the rank is lost too, asked for each to whom it is. */
  readonly losesWay?: (to: number | "client") => boolean;
}

/** An engine over ranks that all run in this thread, on a virtual clock. */
export async function openVirtual(
  options: VirtualOptions,
): Promise<{ readonly engine: Engine; readonly ranks: VirtualRanks }> {
  const { topology, nodes = 1, sharesExperts = false, config, clock, stepRows } = options;
  const kept = { policy: "f32", kvMemoryBytes: 0, chunkRows: stepRows } as const;
  const placed = sharesExperts ? {} : ({ experts: "replicated" } as const);
  const plan = planFleet({ ...kept, ...placed, topology: parseTopology(topology), nodes }, config);
  let ranks: VirtualRanks | undefined;
  const engine = await Engine.over(
    { plan, config, now: () => clock.now(), clock },
    options.observer ?? {},
    async (listener) => (ranks = new VirtualRanks(options, plan, listener)),
  );
  return { engine, ranks: ranks as unknown as VirtualRanks };
}

/** Lets a virtual clock run until there is nothing that it could bring about; it stands still while `isBusy`. */
export async function runClock(clock: ManualClock, isBusy = () => false): Promise<void> {
  // A turn of the real event loop for each of the virtual clock's: all that follows has happened then.
  do await turn();
  while (isBusy() || clock.advanceToNext());
}

/** Every rank's loop, and the ways between them and to their client. They can be lost. */
export class VirtualRanks implements RankFleet {
  readonly ranks: readonly RankHandle[];
  readonly units: readonly UnitLife[];
  readonly problems = [];
  /** What is lost stays so. */
  readonly recovers = false;
  /** When a unit was said to have nothing left. */
  readonly drainedAt = new Map<number, number>();
  readonly cores: readonly EngineCore[];
  readonly #clock: ManualClock;
  readonly #plan: FleetPlan;
  readonly #listener: FleetListener;
  readonly #linkMs: () => number;
  readonly #mailboxes: readonly Mailbox[];
  readonly #unitLost: ((error: Error) => void)[] = [];
  readonly #lost = new Set<number>();
  /** By from and to: when what was sent last arrives. */
  readonly #arrivals = new Map<string, number>();
  /** On which nothing arrives any more. */
  readonly #lostWays = new Set<string>();

  constructor(options: VirtualOptions, plan: FleetPlan, listener: FleetListener) {
    this.#clock = options.clock;
    this.#plan = plan;
    this.units = firstUnits(plan).map(({ role, ranks }, unit) => ({
      ...{ unit, role, ranks },
      state: "serving",
    }));
    this.#listener = listener;
    this.#linkMs = options.linkMs;
    this.#mailboxes = plan.nodeOfRank.map(() => new Mailbox());
    this.cores = plan.nodeOfRank.map(
      (_, rank) =>
        new EngineCore({
          ...options.core(rank),
          ...{ transport: this.#transport(rank), clock: options.clock },
          ...this.#unitOf(rank),
        }),
    );
    this.ranks = this.cores.map((core, rank) => this.#startLoop(core, rank));
  }

  get alive(): readonly number[] {
    return [...this.ranks.keys()].filter((rank) => !this.#lost.has(rank));
  }

  ranksOf(node: number): readonly number[] {
    return [...this.ranks.keys()].filter((rank) => this.#plan.nodeOfRank[rank] === node);
  }

  /** Ranks that go together, as those of a process do. */
  lose(ranks: readonly number[], loss: VirtualLoss): void {
    for (const rank of ranks) this.#lose(rank, loss);
  }

  /** Two ranks that live hear nothing more of each other, and say so to the others, who hear nothing else. */
  cut(one: number, other: number): void {
    for (const [from, to] of [[one, other] as const, [other, one] as const]) {
      this.#clock.after(this.#linkMs(), () => this.#tellLost(to, from, "the link is cut"));
    }
  }

  scale(): never {
    throw new RangeError("these units are all that there will be");
  }

  /** A unit is to be given nothing more. */
  drain(unit: number): void {
    this.#listener.draining(unit);
  }

  drained(unit: number): void {
    this.drainedAt.set(unit, this.#clock.now());
  }

  async close(): Promise<void> {
    for (const mailbox of this.#mailboxes) mailbox.close();
  }

  #startLoop(core: EngineCore, number: number): RankHandle {
    const unitLost = new Promise<never>((_, reject) => (this.#unitLost[number] = reject));
    unitLost.catch(() => undefined);
    const rank = new Rank(
      core,
      this.#transport(number),
      placeOf(firstUnits(this.#plan), number),
      unitLost,
    );
    const loop = new RankLoop(
      rank,
      {
        say: (news) => this.#send(number, "client", () => this.#listener.heard(number, news)),
        die: (error) => this.#die(number, error as Error),
      },
      this.#clock,
    );
    loop.start();
    return {
      limits: core.limits,
      tell: (command: RankCommand) => {
        this.#send("client", number, () => loop.hear(structuredClone(command)));
      },
      ask: (question) => loop.answer(question),
    };
  }

  #unitOf(rank: number): { readonly unit?: UnitClock } {
    const { placement, unit } = placeOf(firstUnits(this.#plan), rank);
    return placement ? { unit: new UnitClock(this.#transport(rank), unit) } : {};
  }

  #transport(rank: number): Transport {
    const own = this.#mailboxes[rank];
    return {
      rank,
      send: async (to, channel, message) => {
        own.checkPeer(to);
        const copy = Uint8Array.from(message);
        this.#send(rank, to, () => this.#mailboxes[to].deliver(rank, channel, copy));
      },
      receive: (from, channel) => own.receive(from, channel),
      arrival: (channel, signal) => own.arrival(channel, signal),
      close: () => own.close(),
    };
  }

  /** In the order in which it is sent; what the lost send or should hear is nothing. */
  #send(from: number | "client", to: number | "client", act: () => void): void {
    if (this.#isLost(from)) return;
    const way = `${from} ${to}`;
    const now = this.#clock.now();
    const at = Math.max(now + this.#linkMs(), this.#arrivals.get(way) ?? 0);
    this.#arrivals.set(way, at);
    this.#clock.after(at - now, () => {
      if (!this.#isLost(to) && !this.#lostWays.has(way)) act();
    });
  }

  #isLost(who: number | "client"): boolean {
    return who !== "client" && this.#lost.has(who);
  }

  #die(rank: number, error: Error): void {
    if (this.#lost.has(rank)) return;
    this.#lose(rank, {
      reason: error.message,
      isOwnFault: !(error instanceof PeerLostError),
      heardAfter: this.#linkMs,
    });
  }

  #lose(rank: number, loss: VirtualLoss): void {
    const { reason, isOwnFault = false, heardAfter = this.#linkMs } = loss;
    if (this.#lost.has(rank)) return;
    this.#lost.add(rank);
    this.#mailboxes[rank].close();
    for (const to of [...this.alive, "client" as const]) {
      if (loss.losesWay?.(to)) this.#lostWays.add(`${rank} ${to}`);
    }
    for (const other of this.alive) {
      this.#clock.after(heardAfter(), () => this.#tellLost(other, rank, reason));
    }
    this.#clock.after(heardAfter(), () => this.#listener.lost(rank, reason, isOwnFault));
  }

  #tellLost(rank: number, lost: number, reason: string): void {
    const error = new PeerLostError(lost, reason);
    this.#mailboxes[rank].lose(error);
    const { placement, unit } = placeOf(firstUnits(this.#plan), rank);
    if (placement && unit.includes(lost)) this.#unitLost[rank](error);
  }
}
