import { setMaxListeners } from "node:events";
import {
  inTime,
  defaultTopology,
  parseTopology,
  systemClock,
  type Clock,
  type Topology,
  type Unit,
  type UnitRole,
} from "../../cluster/index.ts";
import { forwardCosts, readConfig } from "../../model/index.ts";
import { EngineError, Fleet, placeAgain, planFleet } from "../fleet/index.ts";
import type {
  FleetListener,
  RankFleet,
  RankHandle,
  StartedUnit,
  UnitLife,
  WantedUnits,
} from "../fleet/index.ts";
import type {
  AskedRequest,
  EngineStats,
  GenerationEvent,
  RankNews,
  TimedEvent,
} from "../messages.ts";
import type { Placement } from "../rank/index.ts";
import { admitted, promptProblem } from "../requests.ts";
import {
  ExpertPlacements,
  loadsOf,
  Router,
  type ExpertLoads,
  type ExpertMove,
} from "../routing/index.ts";
import type { MaskSource } from "./answer-masks.ts";
import { Dispatcher } from "./dispatcher.ts";
import type { EngineObserver, EngineOptions, EngineParts, Rebalanced } from "./engine-options.ts";
import { addStats } from "./engine-stats.ts";
import type { Journey } from "./journeys.ts";
import { RankCounts } from "./rank-counts.ts";
import { nodesOf, topologyOf } from "./unit-places.ts";
import { UnitScaling } from "./unit-scaling.ts";

const DEFAULT_CHUNK_ROWS = 256;
/** Time that closing leaves for blocks not yet in the context cache. */
const FLUSH_MS = 10_000;

/** Answers requests on the ranks of a cluster. The caller's thread only passes messages. */
export class Engine {
  /** How many units are wanted, and how that came about. */
  readonly scaling: UnitScaling;
  /** Units that have served, by number, until nothing is left of them. */
  readonly #units = new Map<number, Unit>();
  readonly #experts: ExpertPlacements;
  readonly #now: () => number;
  readonly #clock: Clock;
  /** Why ranks are lost. */
  readonly #lost = new Map<number, string>();
  readonly #counts: RankCounts;
  readonly #observer: EngineObserver;
  readonly #fatal: Promise<EngineError>;
  #tellFatal!: (error: EngineError) => void;
  readonly #keepsBlocks: boolean;
  readonly #moeLayers: number;
  #fleet!: RankFleet;
  #dispatcher: Dispatcher | undefined;
  #ended: string | undefined;
  #closing = false;

  /** Opens the model on every rank; rejects with what is wrong with it. */
  static async start(options: EngineOptions, observer: EngineObserver = {}): Promise<Engine> {
    const { modelDirectory, modelBytes = "sample", weights = "mapped", ...others } = options;
    const { nodes, packed, routing, reading = "sooner", now = Date.now, ...rest } = others;
    const { topology = defaultTopology } = options;
    const stepRows = options.chunkRows ?? DEFAULT_CHUNK_ROWS;
    const config = await readConfig(modelDirectory);
    const plan = planFleet(
      {
        ...{ ...rest, topology, nodes: nodes?.count ?? 1, chunkRows: stepRows },
        ...(observer.trace && { traceEpochMs: observer.trace.epochMs }),
      },
      config,
    );
    const { experts = {} } = options;
    return Engine.over(
      { plan, config, routing, reading: plan.contextCache && reading, now, clock: systemClock },
      observer,
      (listener, loads) =>
        Fleet.start({
          ...{ plan, modelDirectory, modelBytes, weights, packed, listener, clock: systemClock },
          nodes: nodes ?? { count: 1 },
          place: ({ role, ranks }) => {
            const nodeCount = new Set(ranks.map(({ node }) => node)).size;
            const shape = { role, ranks: ranks.length, nodes: nodeCount };
            return placeAgain(experts, config, shape, systemClock, loads(role));
          },
        }),
    );
  }

  /** Over ranks that run however `startRanks` has it, on threads or on a clock of their own. */
  static async over(
    parts: EngineParts,
    observer: EngineObserver,
    startRanks: (
      listener: FleetListener,
      loads: (role: UnitRole) => ExpertLoads | undefined,
    ) => Promise<RankFleet>,
  ): Promise<Engine> {
    const engine = new Engine(parts, observer);
    const topology = parseTopology(parts.plan.topology);
    const listener: FleetListener = {
      heard: (rank, news) => engine.#hear(rank, news),
      lost: (rank, reason, isOwnFault) => engine.#lose(rank, reason, isOwnFault),
      serving: (unit) => engine.#serve(unit),
      draining: (unit) => engine.#drain(unit),
      changed: () => engine.#forgetEnded(),
      hopeless: (reason) => engine.#end(reason),
    };
    engine.#fleet = await startRanks(listener, (role) => engine.#loadsOf(role));
    const { ranks } = engine.#fleet;
    const { clock, now } = parts;
    const router = new Router({
      ...{ topology, stepRows: parts.plan.chunkRows, costs: forwardCosts(parts.config) },
      ...{ routing: parts.routing, reading: parts.reading },
      pages: Math.min(...ranks.map(({ limits }) => limits.pages)),
    });
    engine.#dispatcher = new Dispatcher({
      ...{ router, ranks, clock, now },
      moved: (requests, reason) => observer.moved?.(requests, reason),
    });
    return engine;
  }

  private constructor({ plan, config, now, clock }: EngineParts, observer: EngineObserver) {
    const topology = parseTopology(plan.topology);
    for (const [number, unit] of topology.units.entries()) this.#units.set(number, unit);
    this.#now = now;
    this.#clock = clock;
    this.#counts = new RankCounts(clock, (rank) => observer.silent?.(rank));
    this.#experts = new ExpertPlacements({
      ...{ ...plan, topology, groups: config.gate.groups, clock },
    });
    this.#keepsBlocks = plan.contextCache !== undefined;
    this.#moeLayers = config.layers - config.firstDense;
    this.#observer = observer;
    this.scaling = new UnitScaling(() => this.#fleet, now, observer);
    this.#fatal = new Promise((resolve) => (this.#tellFatal = resolve));
  }

  /** Prompt and answer together, in tokens. */
  get maxModelLen(): number {
    return this.#fleet.ranks[0].limits.maxModelLen;
  }

  /** What of the model's config ends the context, where that is not its length. */
  get limitedBy(): string | undefined {
    return this.#fleet.ranks[0].limits.limitedBy;
  }

  get vocabSize(): number {
    return this.#fleet.ranks[0].limits.vocabSize;
  }

  get eosTokens(): readonly number[] {
    return this.#fleet.ranks[0].limits.eosTokens;
  }

  /** All units that there are, in whatever state. */
  get units(): readonly UnitLife[] {
    return this.#fleet.units;
  }

  /** Those units and their ranks, whose numbers have gaps once ranks have ended. */
  get topology(): Topology {
    return topologyOf(this.units);
  }

  /** The node of each rank, by its number. */
  get nodeOfRank(): readonly number[] {
    return nodesOf(this.units);
  }

  /** By unit: where its experts lie; null where each rank has all of them. */
  get placements(): readonly (Placement | null)[] {
    return this.units.map(({ unit }) => this.#experts.of(unit));
  }

  /** Why units that are wanted do not start. */
  get problems(): readonly string[] {
    return this.#fleet.problems;
  }

  get tokens(): Dispatcher["tokens"] {
    return this.#dispatcher?.tokens ?? { prefill: 0, decode: 0 };
  }

  /**
   * So many units of the roles that are named are to serve: more are started, or the last ones drained.
   * @throws RangeError where there are no units of a role, or there would be none
   */
  scale(wanted: WantedUnits, because = "it was asked for"): void {
    this.scaling.scale(wanted, because);
  }

  /** The ranks that are gone. */
  get lost(): ReadonlySet<number> {
    return new Set(this.#lost.keys());
  }

  /** Why the engine ended, if it has. */
  get ended(): string | undefined {
    return this.#ended;
  }

  /** Resolves when so many ranks are lost that no request can be answered any more. */
  get fatal(): Promise<EngineError> {
    return this.#fatal;
  }

  /**
   * Events of one sequence, ending with `finished` or `failed`. Leaving the loop or aborting the
   * signal cancels the request; an aborted one ends without a last event. A request with a mask is
   * told by `masks` what may come after each of its tokens.
   */
  async *generate(
    asked: AskedRequest,
    signal?: AbortSignal,
    masks?: MaskSource,
  ): AsyncGenerator<TimedEvent, void, undefined> {
    if (signal?.aborted) return;
    if (this.#ended !== undefined) {
      yield this.#timed({ kind: "failed", code: "engine_ended", message: this.#ended });
      return;
    }
    const problem = promptProblem(asked, this.#fleet.ranks[0].limits);
    if (problem !== undefined) {
      yield this.#timed({ kind: "failed", code: "invalid_request", message: problem });
      return;
    }
    const dispatcher = this.#dispatcher as Dispatcher;
    const live = dispatcher.begin(admitted(asked), masks);
    const leave = () => dispatcher.leave(live);
    // The choices of a request share its signal: many listeners are no leak.
    if (signal) setMaxListeners(0, signal);
    signal?.addEventListener("abort", leave, { once: true });
    try {
      for (;;) {
        const event = await live.events.next();
        if (!event) return;
        yield event;
        if (event.kind === "finished" || event.kind === "failed") return;
      }
    } finally {
      signal?.removeEventListener("abort", leave);
      leave();
    }
  }

  /** Of all ranks together. */
  async stats(): Promise<EngineStats> {
    const [first, ...others] = await this.rankStats();
    return others.reduce(addStats, first);
  }

  /** Sequences on their way, and those that ended since `time`: of many at a time, some. */
  journeysSince(time: number): readonly Readonly<Journey>[] {
    return this.#dispatcher?.journeysSince(time) ?? [];
  }

  /** Of each rank, by its number; rejects once the engine has ended. */
  async rankStats(): Promise<EngineStats[]> {
    const { length } = this.#fleet.ranks;
    const stats = await Promise.all(Array.from({ length }, (_, rank) => this.#statsOf(rank)));
    if (this.#ended !== undefined) throw new EngineError(this.#ended);
    return stats;
  }

  /**
   * Places the experts of each unit anew for what its ranks have counted since the last time; each
   * unit changes between two steps. One that has computed nothing, or would be no better off, stays
   * as it is.
   */
  async rebalance(): Promise<Rebalanced[]> {
    return this.#place(await this.#experts.rebalance(await this.rankStats()));
  }

  /** The same of one layer where that pays for the last windows of loads: see `ExpertPlacements`. */
  async balance(): Promise<Rebalanced[]> {
    return this.#place(this.#experts.balance(await this.rankStats(), this.#now()));
  }

  #place(moves: readonly ExpertMove[]): Rebalanced[] {
    return moves.map(({ unit, ranks, version, placement, before, after }) => {
      for (const rank of ranks) {
        this.#fleet.ranks[rank].tell({ kind: "place", version, placement });
      }
      return { unit, before, after };
    });
  }

  /** Ends all threads and processes of the cluster; what is still live fails. */
  async close(): Promise<void> {
    this.#closing = true;
    if (this.#keepsBlocks && this.#ended === undefined) {
      const flushed = Promise.allSettled(this.#fleet.ranks.map((rank) => rank.ask("flush")));
      const late = () => new EngineError("blocks were not written in time");
      await inTime(flushed, this.#clock, FLUSH_MS, late).catch(() => undefined);
    }
    await this.#fleet.close();
  }

  #hear(rank: number, news: RankNews): void {
    if (news.kind === "spans") {
      this.#observer.trace?.write(news.spans);
      return;
    }
    if (news.kind === "guesses") return this.#dispatcher?.hearGuesses(rank, news.guesses);
    // Once those who wait for these events have had their turn.
    this.#clock.soon(() => this.#fleet.ranks[rank].tell({ kind: "heard" }));
    this.#dispatcher?.hear(rank, news);
  }

  async #statsOf(rank: number): Promise<EngineStats> {
    const handle = this.#fleet.ranks[rank] as RankHandle | undefined;
    const reason = this.#lost.get(rank);
    // One whose start has failed has no handle.
    if (!handle || reason !== undefined) return this.#counts.ofLost(rank, reason ?? "");
    return this.#counts.ask(rank, handle);
  }

  /**
   * A rank is gone, and with it the ranks of its unit that cannot step without it. Others go on with
   * what they were computing.
   */
  #lose(rank: number, reason: string, isOwnFault: boolean): void {
    const [unit, { ranks }] = this.#unitOf(rank) ?? [undefined, { ranks: [rank] }];
    const together = unit !== undefined && this.#experts.of(unit) ? ranks : [rank];
    const gone = together.filter((each) => !this.#lost.has(each));
    for (const each of gone) {
      this.#lost.set(each, reason);
      if (!this.#closing) this.#observer.lost?.(each, reason);
    }
    // One that is lost before all have started keeps the engine from starting.
    if (!this.#dispatcher) return;
    const areAllLost = [...this.#units.values()].every((each) =>
      each.ranks.every((one) => this.#lost.has(one)),
    );
    if (this.#closing || (areAllLost && !this.#fleet.recovers)) this.#end(reason);
    else this.#dispatcher.lose(gone, reason, isOwnFault ? rank : undefined);
  }

  /** Undefined where it was forgotten, or does not serve yet. */
  #unitOf(rank: number): [number, Unit] | undefined {
    return [...this.#units].find(([, { ranks }]) => ranks.includes(rank));
  }

  /** A unit has started while others serve. */
  #serve({ life: { unit, role, ranks: places }, placement }: StartedUnit): void {
    const ranks = places.map(({ rank }) => rank);
    const nodes = new Set(places.map(({ node }) => node)).size;
    this.#units.set(unit, { role, ranks });
    this.#experts.add(unit, ranks, { role, ranks: ranks.length, nodes }, placement);
    this.#dispatcher?.serve({ role, ranks });
  }

  /** A unit is given nothing more, and ends when it has nothing left; its counts are kept. */
  #drain(unit: number): void {
    const { ranks } = this.#units.get(unit) as Unit;
    this.#dispatcher?.drain(ranks, () => {
      const counted = ranks.map((rank) => this.#statsOf(rank));
      void Promise.all(counted).then(() => this.#fleet.drained(unit));
    });
  }

  /** What is left of units that have ended, or were replaced, is what their ranks have counted. */
  #forgetEnded(): void {
    if (!this.#dispatcher) return;
    const there = new Set(this.#fleet.units.map(({ unit }) => unit));
    for (const [unit, { ranks }] of this.#units) {
      if (there.has(unit)) continue;
      this.#units.delete(unit);
      this.#experts.delete(unit);
      const gone = ranks.filter((rank) => !this.#lost.has(rank));
      for (const rank of gone) this.#lost.set(rank, "its unit has ended");
      this.#dispatcher.lose(gone, "its unit has ended");
      for (const rank of ranks) this.#counts.keepSums(rank);
    }
    this.#observer.changed?.();
  }

  /** What the units of a role have counted of their experts. */
  #loadsOf(role: UnitRole): ExpertLoads | undefined {
    const units = [...this.#units.values()].filter((unit) => unit.role === role);
    const ranks = units.flatMap((unit) => unit.ranks);
    const counted = ranks.flatMap((rank) => this.#counts.last(rank) ?? []);
    return loadsOf(counted, this.#moeLayers);
  }

  /** Nobody waits for a cluster that is gone. */
  #end(message: string): void {
    this.#ended ??= message;
    this.#dispatcher?.fail("engine_ended", this.#ended);
    if (!this.#closing) this.#tellFatal(new EngineError(this.#ended));
  }

  #timed(event: GenerationEvent): TimedEvent {
    return { ...event, time: this.#now() };
  }
}
