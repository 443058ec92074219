import { setMaxListeners } from "node:events";
import { setTimeout } from "node:timers/promises";
import { createSharedSegments, parseTopology, type Topology } from "../cluster/index.ts";
import { orderedPlacement } from "../expert-parallel/index.ts";
import { forwardCosts, readConfig } from "../model/index.ts";
import type { TraceWriter } from "../trace/index.ts";
import { EventQueue } from "./event-queue.ts";
import type { EngineReport, EngineStats, GenerationEvent, GenerationRequest } from "./messages.ts";
import type { RankOptions, RankPlace } from "./rank.ts";
import { EngineError, RankWorker } from "./rank-worker.ts";
import { Router } from "./router.ts";

export interface EngineOptions extends Omit<RankOptions, "place" | "chunkRows"> {
  readonly chunkRows?: number;
  /** Units and their ranks; by default one that computes prompts and answers alike. */
  readonly topology?: Topology;
  /** Over the ranks of a unit, or all on each rank. */
  readonly experts?: "parallel" | "replicated";
  /** Logical expert of each physical one, by layer of routed experts; by default in order. */
  readonly placement?: readonly (readonly number[])[];
}

const DEFAULT_CHUNK_ROWS = 256;
/** Time that closing leaves for blocks not yet in the context cache. */
const FLUSH_MS = 10_000;

/** A cluster's ranks, each in a thread of its own. The caller's thread only passes messages. */
export class Engine {
  readonly topology: Topology;
  readonly #ranks: RankWorker[] = [];
  #router!: Router;
  readonly #requests = new Map<number, EventQueue>();
  readonly #trace: TraceWriter | undefined;
  readonly #fatal: Promise<EngineError>;
  #tellFatal!: (error: EngineError) => void;
  readonly #keepsBlocks: boolean;
  #nextHandle = 0;
  #ended: string | undefined;
  #closing = false;

  /** Opens the model; rejects with what is wrong with it. Spans go to the trace, if one is given. */
  static async start(options: EngineOptions, trace?: TraceWriter): Promise<Engine> {
    const topology = options.topology ?? parseTopology("combined=1x1");
    const engine = new Engine(topology, options.contextCache !== undefined, trace);
    try {
      await engine.#startRanks(options);
    } catch (error) {
      await engine.close();
      throw error;
    }
    return engine;
  }

  private constructor(topology: Topology, keepsBlocks: boolean, trace?: TraceWriter) {
    this.topology = topology;
    this.#keepsBlocks = keepsBlocks;
    this.#trace = trace;
    this.#fatal = new Promise((resolve) => (this.#tellFatal = resolve));
  }

  /** Prompt and answer together, in tokens. */
  get maxModelLen(): number {
    return this.#ranks[0].limits.maxModelLen;
  }

  get vocabSize(): number {
    return this.#ranks[0].limits.vocabSize;
  }

  get eosTokens(): readonly number[] {
    return this.#ranks[0].limits.eosTokens;
  }

  /** Why the engine ended, if it has. */
  get ended(): string | undefined {
    return this.#ended;
  }

  /** Resolves when a rank's thread dies without having been closed. */
  get fatal(): Promise<EngineError> {
    return this.#fatal;
  }

  /**
   * Events of one sequence, ending with `finished` or `failed`. Leaving the loop or aborting the
   * signal cancels the request; an aborted one ends without a last event.
   */
  async *generate(
    request: GenerationRequest,
    signal?: AbortSignal,
  ): AsyncGenerator<GenerationEvent, void, undefined> {
    if (signal?.aborted) return;
    const handle = this.#nextHandle++;
    const { rank, decodeRank, prefilled, release } = this.#router.route(request);
    const queue = new EventQueue(decodeRank);
    let live = true;
    const cancel = () => {
      queue.close();
      if (live) {
        this.#ranks[rank].tell({ kind: "cancel", handle });
        if (decodeRank !== undefined) this.#ranks[decodeRank].tell({ kind: "cancel", handle });
      }
      live = false;
    };
    // The choices of a request share its signal: many listeners are no leak.
    if (signal) setMaxListeners(0, signal);
    signal?.addEventListener("abort", cancel, { once: true });
    this.#requests.set(handle, queue);
    try {
      if (this.#ended === undefined) this.#submit(handle, request, rank, decodeRank);
      else queue.push({ kind: "failed", code: "engine_ended", message: this.#ended });
      for (;;) {
        const event = await queue.next();
        if (!event) return;
        if (event.kind === "token") prefilled();
        live = event.kind !== "finished" && event.kind !== "failed";
        yield event;
        if (!live) return;
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
    const [first, ...others] = await this.rankStats();
    return others.reduce(addStats, first);
  }

  /** Of each rank, by its number. */
  async rankStats(): Promise<EngineStats[]> {
    return Promise.all(this.#ranks.map((rank) => rank.stats()));
  }

  /** Ends the threads; what is still live fails. */
  async close(): Promise<void> {
    this.#closing = true;
    if (this.#keepsBlocks && this.#ended === undefined) {
      const flushed = Promise.allSettled(this.#ranks.map((rank) => rank.flush()));
      await Promise.race([flushed, setTimeout(FLUSH_MS, undefined, { ref: false })]);
    }
    await Promise.all(this.#ranks.map((rank) => rank.terminate()));
  }

  async #startRanks(options: EngineOptions): Promise<void> {
    const { units, ranks } = this.topology;
    const segments = createSharedSegments(Array.from({ length: ranks }, (__, rank) => rank));
    const prefill = units.flatMap((unit) => (unit.role === "prefill" ? unit.ranks : []));
    const config = await readConfig(options.modelDirectory);
    const { gate, layers, firstDense } = config;
    const inOrder = (unitRanks: number) =>
      Array.from({ length: layers - firstDense }, () => [
        ...orderedPlacement(gate.experts, unitRanks).physicalToLogical,
      ]);
    for (const { role, ranks: unit } of units) {
      const shares = unit.length > 1 && options.experts !== "replicated";
      const map = shares ? (options.placement ?? inOrder(unit.length)) : undefined;
      const started = unit.map((rank) =>
        this.#startRank(options, {
          ...{ rank, segments, unit },
          prefillRanks: role === "decode" ? prefill : [],
          ...(map && { placement: map }),
        }),
      );
      this.#ranks.push(...(await Promise.all(started)));
    }
    this.#router = new Router({
      topology: this.topology,
      costs: forwardCosts(config),
      pages: this.#ranks[0].limits.pages,
      stepRows: options.chunkRows ?? DEFAULT_CHUNK_ROWS,
    });
  }

  #startRank(options: EngineOptions, place: RankPlace): Promise<RankWorker> {
    return RankWorker.start(
      {
        chunkRows: DEFAULT_CHUNK_ROWS,
        ...options,
        place,
        ...(this.#trace && { traceEpochMs: this.#trace.epochMs }),
      },
      {
        onReport: (report) => this.#hear(place.rank, report),
        onEnd: (message) => this.#end(message),
      },
    );
  }

  #submit(handle: number, request: GenerationRequest, rank: number, decodeRank?: number): void {
    if (decodeRank === undefined) {
      this.#ranks[rank].tell({ kind: "generate", handle, request });
      return;
    }
    this.#ranks[decodeRank].tell({ kind: "expect", handle, request });
    this.#ranks[rank].tell({ kind: "generate", handle, request, decodeRank });
  }

  #hear(rank: number, report: EngineReport): void {
    if (report.kind === "spans") this.#trace?.write(report.spans);
    if (report.kind !== "events") return;
    for (const { handle, event } of report.events) {
      this.#requests.get(handle)?.push(event, rank);
    }
  }

  /** Nobody waits for a thread that is gone. */
  #end(message: string): void {
    this.#ended ??= message;
    for (const queue of this.#requests.values()) {
      queue.push({ kind: "failed", code: "engine_ended", message: this.#ended });
    }
    if (!this.#closing) this.#tellFatal(new EngineError(this.#ended));
  }
}

/** Sums; traffic is a rank's own. */
function addStats(a: EngineStats, b: EngineStats): EngineStats {
  return {
    waiting: a.waiting + b.waiting,
    running: a.running + b.running,
    pages: a.pages + b.pages,
    pagesInUse: a.pagesInUse + b.pagesInUse,
    pagesCached: a.pagesCached + b.pagesCached,
    steps: a.steps + b.steps,
    promptTokens: a.promptTokens + b.promptTokens,
    hitTokens: a.hitTokens + b.hitTokens,
    generatedTokens: a.generatedTokens + b.generatedTokens,
    preemptions: a.preemptions + b.preemptions,
  };
}
