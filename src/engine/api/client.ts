import { setMaxListeners } from "node:events";
import { parseTopology, systemClock, type Clock, type Topology } from "../../cluster/index.ts";
import { forwardCosts, readConfig } from "../../model/index.ts";
import { eventsOf } from "../event-columns.ts";
import { EngineError, Fleet, planFleet } from "../fleet/index.ts";
import type { RankFleet, RankListener } from "../fleet/index.ts";
import type {
  AskedRequest,
  EngineStats,
  GenerationEvent,
  GenerationRequest,
  RankNews,
  TimedEvent,
} from "../messages.ts";
import type { Placement } from "../rank/index.ts";
import { admitted, promptProblem } from "../requests.ts";
import { ExpertPlacements, Router, type Route } from "../routing/index.ts";
import type { EngineObserver, EngineOptions, EngineParts, Rebalanced } from "./engine-options.ts";
import { addStats, lostStats } from "./engine-stats.ts";
import { EventQueue } from "./event-queue.ts";
import { HashedPrompts } from "./hashed-prompts.ts";

const DEFAULT_CHUNK_ROWS = 256;
/** Time that closing leaves for blocks not yet in the context cache. */
const FLUSH_MS = 10_000;

/** A bit for each token that may follow one that was told; undefined when none has to. */
export type MaskSource = (token: number) => Promise<Uint32Array | undefined>;

/** A sequence that is not finished. */
interface LiveRequest {
  readonly queue: EventQueue;
  readonly rank: number;
  readonly decodeRank: number | undefined;
  readonly hear: Route["hear"];
  readonly masks: MaskSource | undefined;
  /** Prompt and tokens told. */
  length: number;
  /** The first token has come. */
  isPrefilled: boolean;
}

/** Answers requests on the ranks of a cluster. The caller's thread only passes messages. */
export class Engine {
  readonly topology: Topology;
  /** The node of each rank. */
  readonly nodeOfRank: readonly number[];
  readonly #experts: ExpertPlacements;
  readonly #now: () => number;
  readonly #clock: Clock;
  readonly #hashed = new HashedPrompts();
  readonly #requests = new Map<number, LiveRequest>();
  /** Why ranks are lost, with the last that was heard of their counts. */
  readonly #lost = new Map<number, string>();
  readonly #lastStats = new Map<number, EngineStats>();
  readonly #observer: EngineObserver;
  readonly #fatal: Promise<EngineError>;
  #tellFatal!: (error: EngineError) => void;
  readonly #keepsBlocks: boolean;
  #fleet!: RankFleet;
  #router: Router | undefined;
  #nextHandle = 0;
  #ended: string | undefined;
  #closing = false;

  /** Opens the model on every rank; rejects with what is wrong with it. */
  static async start(options: EngineOptions, observer: EngineObserver = {}): Promise<Engine> {
    const { modelDirectory, modelBytes = "sample", weights = "mapped", ...others } = options;
    const { nodes, now = Date.now, ...rest } = others;
    const { topology = parseTopology("combined=1x1") } = options;
    const stepRows = options.chunkRows ?? DEFAULT_CHUNK_ROWS;
    const config = await readConfig(modelDirectory);
    const plan = planFleet(
      {
        ...{ ...rest, topology, nodes: nodes?.count ?? 1, chunkRows: stepRows },
        ...(observer.trace && { traceEpochMs: observer.trace.epochMs }),
      },
      config,
    );
    return Engine.over({ plan, config, now, clock: systemClock }, observer, (listener) =>
      Fleet.start({
        ...{ plan, modelDirectory, modelBytes, weights, listener },
        nodes: nodes ?? { count: 1 },
      }),
    );
  }

  /** Over ranks that run however `startRanks` has it, on threads or on a clock of their own. */
  static async over(
    parts: EngineParts,
    observer: EngineObserver,
    startRanks: (listener: RankListener) => Promise<RankFleet>,
  ): Promise<Engine> {
    const engine = new Engine(parts, observer);
    const { topology } = engine;
    engine.#fleet = await startRanks({
      heard: (rank, news) => engine.#hear(rank, news),
      lost: (rank, reason) => engine.#lose(rank, reason),
    });
    engine.#router = new Router({
      ...{ topology, stepRows: parts.plan.chunkRows, costs: forwardCosts(parts.config) },
      pages: Math.min(...engine.#fleet.ranks.map(({ limits }) => limits.pages)),
    });
    return engine;
  }

  private constructor({ plan, config, now, clock }: EngineParts, observer: EngineObserver) {
    this.topology = parseTopology(plan.topology);
    this.#now = now;
    this.#clock = clock;
    this.nodeOfRank = plan.nodeOfRank;
    this.#experts = new ExpertPlacements({
      ...{ ...plan, topology: this.topology, groups: config.gate.groups },
    });
    this.#keepsBlocks = plan.contextCache !== undefined;
    this.#observer = observer;
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

  /** By unit: where its experts lie; null where each rank has all of them. */
  get placements(): readonly (Placement | null)[] {
    return this.#experts.current;
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
    const request = this.#hashed.withKeys(admitted(asked));
    const handle = this.#nextHandle++;
    const router = this.#router as Router;
    const { rank, decodeRank, hear, release } = router.route(request);
    const queue = new EventQueue(decodeRank);
    const { length } = request.prompt;
    const live: LiveRequest = { queue, rank, decodeRank, hear, masks, length, isPrefilled: false };
    let over = false;
    const cancel = () => {
      queue.close();
      if (!over) this.#cancel(handle, live);
      over = true;
    };
    // The choices of a request share its signal: many listeners are no leak.
    if (signal) setMaxListeners(0, signal);
    signal?.addEventListener("abort", cancel, { once: true });
    this.#requests.set(handle, live);
    try {
      this.#submit(handle, request, live);
      for (;;) {
        const event = await queue.next();
        if (!event) return;
        // A rank that fails a request has told no other rank that may have it.
        over = event.kind === "finished";
        yield event;
        if (over || event.kind === "failed") return;
      }
    } finally {
      signal?.removeEventListener("abort", cancel);
      this.#requests.delete(handle);
      release();
      cancel();
    }
  }

  /** Of all ranks together. */
  async stats(): Promise<EngineStats> {
    if (this.#ended !== undefined) throw new EngineError(this.#ended);
    const [first, ...others] = await this.rankStats();
    return others.reduce(addStats, first);
  }

  /** Of each rank, by its number. */
  async rankStats(): Promise<EngineStats[]> {
    return Promise.all(this.#fleet.ranks.map((_, rank) => this.#statsOf(rank)));
  }

  /**
   * Places the experts of each unit anew for what its ranks have counted since the last time; each
   * unit changes between two steps. One that has computed nothing, or would be no better off, stays
   * as it is.
   */
  async rebalance(): Promise<Rebalanced[]> {
    const moves = this.#experts.rebalance(await this.rankStats());
    return moves.map(({ unit, version, placement, before, after }) => {
      for (const rank of this.topology.units[unit].ranks) {
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
      await new Promise<void>((resolve) => {
        const cancel = this.#clock.after(FLUSH_MS, resolve);
        void flushed.then(cancel).then(resolve);
      });
    }
    await this.#fleet.close();
  }

  #submit(handle: number, request: GenerationRequest, { rank, decodeRank }: LiveRequest): void {
    const { ranks } = this.#fleet;
    if (decodeRank === undefined) {
      ranks[rank].tell({ kind: "generate", handle, request });
      return;
    }
    ranks[decodeRank].tell({ kind: "expect", handle, request, prefillRank: rank });
    ranks[rank].tell({ kind: "generate", handle, request, decodeRank });
  }

  #cancel(handle: number, { rank, decodeRank }: LiveRequest): void {
    this.#fleet.ranks[rank].tell({ kind: "cancel", handle });
    if (decodeRank !== undefined) this.#fleet.ranks[decodeRank].tell({ kind: "cancel", handle });
  }

  #hear(rank: number, news: RankNews): void {
    if (news.kind === "spans") {
      this.#observer.trace?.write(news.spans);
      return;
    }
    // Once those who wait for these events have had their turn.
    this.#clock.soon(() => this.#fleet.ranks[rank].tell({ kind: "heard" }));
    const time = this.#now();
    for (const { handle, event } of eventsOf(news.columns)) {
      const live = this.#requests.get(handle);
      if (!live) continue;
      live.isPrefilled ||= event.kind === "token";
      live.hear(event.kind, rank);
      live.queue.push({ ...event, time }, rank);
      if (event.kind === "token") this.#askForMask(handle, live, event.token);
    }
    if (news.pagesInUse !== undefined) this.#router?.report(rank, news.pagesInUse);
  }

  /** While the step computes of which the next token is chosen. */
  #askForMask(handle: number, live: LiveRequest, token: number): void {
    const position = ++live.length;
    const tell = (mask: Uint32Array | undefined) => {
      if (mask && this.#requests.get(handle) === live) {
        const { rank, decodeRank = rank } = live;
        this.#fleet.ranks[decodeRank].tell({ kind: "mask", handle, position, mask });
      }
    };
    live.masks?.(token).then(tell, (error: Error) => {
      if (this.#requests.get(handle) === live) this.#fail(live, "constraint_failed", error.message);
    });
  }

  async #statsOf(rank: number): Promise<EngineStats> {
    if (!this.#lost.has(rank)) {
      try {
        const stats = await this.#fleet.ranks[rank].ask("stats");
        this.#lastStats.set(rank, stats);
        return stats;
      } catch (error) {
        if (!this.#lost.has(rank) || this.#ended !== undefined) throw error;
      }
    }
    return lostStats(this.#lastStats.get(rank), this.#lost.get(rank) ?? "");
  }

  /**
   * A rank is gone, and with it the ranks of its unit that cannot step without it. What they were
   * computing fails; the other units go on, while there are some for every phase.
   */
  #lose(rank: number, reason: string): void {
    const unit = this.topology.units.findIndex(({ ranks }) => ranks.includes(rank));
    const gone = this.#experts.current[unit] ? this.topology.units[unit].ranks : [rank];
    for (const each of gone) {
      if (this.#lost.has(each)) continue;
      this.#lost.set(each, reason);
      this.#router?.lose(each);
      if (!this.#closing) this.#observer.lost?.(each, reason);
    }
    // One that is lost before all have started keeps the engine from starting.
    if (!this.#router) return;
    if (this.#closing || !this.#router.serves) this.#end(reason);
    for (const [handle, live] of this.#requests) {
      if (!needs(live, gone)) continue;
      this.#fail(live, "rank_lost", reason);
      this.#cancel(handle, live);
    }
  }

  /** Nobody waits for a cluster that is gone. */
  #end(message: string): void {
    this.#ended ??= message;
    for (const live of this.#requests.values()) this.#fail(live, "engine_ended", this.#ended);
    if (!this.#closing) this.#tellFatal(new EngineError(this.#ended));
  }

  #fail({ queue }: LiveRequest, code: string, message: string): void {
    queue.push(this.#timed({ kind: "failed", code, message }));
  }

  #timed(event: GenerationEvent): TimedEvent {
    return { ...event, time: this.#now() };
  }
}

/**
 * Whether a sequence cannot go on without ranks. After prefill the decode rank goes on alone; if it
 * still lacks KV of the prompt, it says so.
 */
function needs({ rank, decodeRank, isPrefilled }: LiveRequest, gone: readonly number[]): boolean {
  if (decodeRank !== undefined && gone.includes(decodeRank)) return true;
  return gone.includes(rank) && !(decodeRank !== undefined && isPrefilled);
}
