import { setImmediate as turn } from "node:timers/promises";
import { PeerLostError, parseTopology, type Transport } from "../../cluster/index.ts";
import type { ManualClock } from "../../cluster/fixtures.ts";
import { Mailbox } from "../../cluster/ranks/mailbox.ts";
import { copyOf } from "../../cluster/ranks/transport.ts";
import type { ModelConfig } from "../../model/index.ts";
import {
  partnersOf,
  placeAgain,
  placeOf,
  planFleet,
  type FleetPlan,
  type LaunchedUnit,
} from "../fleet/fleet-plan.ts";
import { END_MS } from "../fleet/fleet.ts";
import {
  EngineError,
  type FleetListener,
  type RankFleet,
  type RankHandle,
} from "../fleet/rank-handle.ts";
import { UnitKeeper, type UnitHands } from "../fleet/unit-keeper.ts";
import type { UnitLife, WantedUnits } from "../fleet/unit-table.ts";
import type { RankCommand } from "../messages.ts";
import type { CoreOptions } from "../rank/core-options.ts";
import { EngineCore, Rank, RankLoop, type Placement } from "../rank/index.ts";
import { UnitClock } from "../rank/unit.ts";
import type { BlockReading } from "../routing/index.ts";
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
  /** Who reads blocks from the cores' context caches; by default ranks that compute prompts. */
  readonly reading?: BlockReading;
  /** Virtual milliseconds that the next start takes; without it what is lost stays so. */
  readonly startMs?: () => number;
  /** Virtual milliseconds that the next rank takes to end when it is told to; by default as a message. */
  readonly endMs?: () => number;
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
    { plan, config, reading: options.reading, now: () => clock.now(), clock },
    options.observer ?? {},
    async (listener) => {
      ranks = new VirtualRanks(options, plan, listener);
      await ranks.begin();
      return ranks;
    },
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
export class VirtualRanks implements RankFleet, UnitHands {
  readonly ranks: RankHandle[] = [];
  /** When a unit was said to have nothing left. */
  readonly drainedAt = new Map<number, number>();
  readonly cores: EngineCore[] = [];
  readonly #options: VirtualOptions;
  readonly #keeper: UnitKeeper;
  /** All that were ever started. */
  readonly #placed: LaunchedUnit[] = [];
  readonly #nodes = new Set<number>();
  #nextNode: number;
  readonly #clock: ManualClock;
  readonly #plan: FleetPlan;
  readonly #listener: FleetListener;
  readonly #linkMs: () => number;
  readonly #mailboxes: Mailbox[] = [];
  readonly #unitLost: ((error: Error) => void)[] = [];
  readonly #lost = new Set<number>();
  /** By from and to: when what was sent last arrives. */
  readonly #arrivals = new Map<string, number>();
  /** On which nothing arrives any more. */
  readonly #lostWays = new Set<string>();

  constructor(options: VirtualOptions, plan: FleetPlan, listener: FleetListener) {
    this.#clock = options.clock;
    this.#plan = plan;
    this.#options = options;
    this.#listener = listener;
    this.#linkMs = options.linkMs;
    this.#keeper = new UnitKeeper({
      ...{ topology: parseTopology(plan.topology), nodes: plan.nodes, hands: this },
      sharesExperts: options.sharesExperts ?? false,
      ...{ listener, clock: options.clock },
      place: ({ role, ranks }) => {
        const nodes = new Set(ranks.map(({ node }) => node)).size;
        const experts = options.sharesExperts ? {} : "replicated";
        const shape = { role, ranks: ranks.length, nodes };
        return placeAgain(experts, options.config, shape, options.clock);
      },
    });
    this.#nextNode = 0;
    for (let node = 0; node <= Math.max(...plan.nodeOfRank); node++) this.join();
  }

  async begin(): Promise<void> {
    await this.#keeper.begin(this.#plan.placements);
    if (!this.#options.startMs) this.#keeper.close();
  }

  get units(): readonly UnitLife[] {
    return this.#keeper.units;
  }

  get wanted(): WantedUnits {
    return this.#keeper.wanted;
  }

  get room(): number {
    return Infinity;
  }

  get problems(): readonly string[] {
    return this.#keeper.problems;
  }

  get recovers(): boolean {
    return this.#keeper.recovers;
  }

  /** How many units have been started. */
  get starts(): number {
    return this.#placed.length;
  }

  /** The nodes that are there. */
  get nodes(): readonly number[] {
    return [...this.#nodes];
  }

  get alive(): readonly number[] {
    return [...this.ranks.keys()].filter((rank) => this.ranks[rank] && !this.#lost.has(rank));
  }

  ranksOf(node: number): readonly number[] {
    const ranks = this.#placed.flatMap((unit) => unit.ranks);
    return ranks.flatMap((each) => (each.node === node ? [each.rank] : []));
  }

  /** A node comes. */
  join(): void {
    this.#nodes.add(this.#nextNode);
    this.#keeper.join(this.#nextNode++);
  }

  /** A node goes, with its ranks. */
  loseNode(node: number, loss: VirtualLoss): void {
    const { heardAfter = this.#linkMs } = loss;
    this.#nodes.delete(node);
    this.#clock.after(heardAfter(), () => this.#keeper.leave(node));
    this.lose(this.ranksOf(node), loss);
    // Those that are just being started.
    for (const { ranks } of this.units) {
      for (const each of ranks) if (each.node === node) this.#forget(each.rank, heardAfter());
    }
  }

  async start(
    planned: readonly UnitLife[],
    placements: readonly (Placement | null)[],
    all: readonly UnitLife[],
  ): Promise<void> {
    const units = planned.map((unit) => ({ ...unit, ranks: [...unit.ranks] }));
    if (this.ranks.length > 0) {
      const { startMs = () => 0 } = this.#options;
      await new Promise<void>((resolve) => this.#clock.after(startMs(), resolve));
    }
    const places = units.flatMap(({ ranks }) => ranks);
    const absent = places.find(({ node }) => !this.#nodes.has(node));
    if (absent) throw new Error(`node ${absent.node} is gone`);
    for (const [index, { role, ranks }] of units.entries()) {
      const placement = placements[index]?.map((layer) => [...layer]) ?? null;
      this.#placed.push({ ranks: [...ranks], placement, partners: partnersOf(role, all) });
    }
    for (const { rank } of places) this.#mailboxes[rank] = new Mailbox();
    for (const { rank } of places) {
      this.cores[rank] = new EngineCore({
        ...this.#options.core(rank),
        ...{ transport: this.#transport(rank), clock: this.#clock },
        ...this.#unitOf(rank),
      });
      this.ranks[rank] = this.#startLoop(this.cores[rank], rank);
    }
  }

  introduce({ role, ranks }: UnitLife, others: readonly UnitLife[]): void {
    const met = ranks.map(({ rank }) => rank);
    for (const rank of partnersOf(role, others))
      this.ranks[rank].tell({ kind: "meet", ranks: met });
  }

  async end({ state, ranks }: UnitLife): Promise<void> {
    const isDismissed = state === "draining";
    await Promise.all(
      ranks.map(async ({ rank }) => {
        if (isDismissed) await this.#finished(rank);
        const endMs = (this.#options.endMs ?? this.#linkMs)();
        const loss = { reason: "it was ended", heardAfter: () => endMs };
        if (this.ranks[rank]) this.#lose(rank, loss, isDismissed ? "as told" : undefined);
        await new Promise<void>((resolve) => this.#clock.after(Math.min(endMs, END_MS), resolve));
      }),
    );
  }

  /** Once a rank that is given nothing more has nothing left. */
  async #finished(rank: number): Promise<void> {
    while (!this.#lost.has(rank) && !this.cores[rank].idle) {
      await new Promise<void>((resolve) => this.#clock.after(1, resolve));
    }
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

  scale(wanted: WantedUnits): void {
    this.#keeper.scale(wanted);
  }

  /** A unit is to be given nothing more. */
  drain(unit: number): void {
    this.#listener.draining(unit);
  }

  drained(unit: number): void {
    this.drainedAt.set(unit, this.#clock.now());
    if (this.#options.startMs) this.#keeper.drained(unit);
  }

  async close(): Promise<void> {
    // Ranks whose start has failed have none.
    this.#mailboxes.forEach((mailbox) => mailbox.close());
  }

  #startLoop(core: EngineCore, number: number): RankHandle {
    const unitLost = new Promise<never>((_, reject) => (this.#unitLost[number] = reject));
    unitLost.catch(() => undefined);
    const rank = new Rank(core, this.#transport(number), placeOf(this.#placed, number), unitLost);
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
      ask: async (question) => {
        if (this.#lost.has(number)) throw new EngineError("it has ended");
        return loop.answer(question);
      },
    };
  }

  #unitOf(rank: number): { readonly unit?: UnitClock } {
    const { placement, unit } = placeOf(this.#placed, rank);
    return placement ? { unit: new UnitClock(this.#transport(rank), unit) } : {};
  }

  #transport(rank: number): Transport {
    const own = this.#mailboxes[rank];
    return {
      rank,
      send: async (to, channel, message) => {
        own.checkPeer(to);
        const copy = copyOf(message);
        this.#send(rank, to, () => this.#mailboxes[to].deliver(rank, channel, copy));
      },
      receive: (from, channel) => own.receive(from, channel),
      release: () => undefined,
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

  #lose(rank: number, loss: VirtualLoss, isAsTold?: "as told"): void {
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
    this.#forget(rank, heardAfter(), () => {
      if (!isAsTold) this.#listener.lost(rank, reason, isOwnFault);
    });
  }

  /** After a while it is heard that a rank is gone. */
  #forget(rank: number, milliseconds: number, heard: () => void = () => undefined): void {
    this.#clock.after(milliseconds, () => {
      this.#keeper.lose(rank);
      heard();
    });
  }

  #tellLost(rank: number, lost: number, reason: string): void {
    const error = new PeerLostError(lost, reason);
    this.#mailboxes[rank].lose(error);
    const { placement, unit } = placeOf(this.#placed, rank);
    if (placement && unit.includes(lost)) this.#unitLost[rank](error);
  }
}
