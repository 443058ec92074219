import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { unitStates, version, type EngineStats } from "../../engine/index.ts";
import type { Load } from "../admission.ts";
import type { GenerationEnd } from "../billing/index.ts";
import type { ClusterView, UnitView } from "../status/index.ts";
import { RankMetrics } from "./rank-metrics.ts";
import { RequestTimes } from "./request-times.ts";

/** A model of which figures are told. */
export interface MeasuredModel {
  readonly name: string;
  /** What computes it: of `daysix_build_info`, beside versions. */
  readonly build: Readonly<Record<string, string>>;
  /** What it has of the sequences inside. */
  readonly load: Readonly<Load>;
  readonly cluster: Pick<
    ClusterView,
    "topology" | "nodeOfRank" | "units" | "scaling" | "rankStats"
  >;
}

/** Seconds between two tokens, and those that a request may take. */
const tokenBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const requestBuckets = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800];
const lengthBuckets = Array.from({ length: 18 }, (_, power) => 2 ** power);

/** The server's figures in Prometheus' text format, in the names of vLLM where they mean the same. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #models: readonly MeasuredModel[];
  readonly #counters: Readonly<Record<keyof typeof counters, Counter>>;
  readonly #histograms: Readonly<Record<keyof typeof histograms, Histogram>>;
  readonly #gauges: Readonly<Record<keyof typeof gauges, Gauge>>;
  readonly #ranks = new RankMetrics(this.#registry);
  /** By the name that was asked for. */
  readonly #resumed = new Map<string, Resumed>();

  /** `ledger`: where bills are written; undefined: nothing is billed. */
  constructor(models: readonly MeasuredModel[], ledger?: { readonly isWritable: boolean }) {
    this.#models = models;
    const registers = [this.#registry];
    this.#counters = mapValues(counters, (each) => new Counter({ ...each, registers }));
    this.#gauges = mapValues(gauges, (each) => new Gauge({ ...each, registers }));
    this.#histograms = mapValues(histograms, ({ name, help, buckets }) => {
      return new Histogram({ name, help, buckets, labelNames: ["model_name"], registers });
    });
    this.#tellBuilds(models);
    if (ledger) this.#tellLedger(ledger);
  }

  #tellLedger(ledger: { readonly isWritable: boolean }): void {
    const up: Gauge = new Gauge({
      ...{ name: "daysix_ledger_up", help: "1 while bills can be written; none without a ledger." },
      registers: [this.#registry],
      collect: () => up.set(ledger.isWritable ? 1 : 0),
    });
  }

  #tellBuilds(models: readonly MeasuredModel[]): void {
    const kinds = new Set(models.flatMap(({ build }) => Object.keys(build)));
    const info = new Gauge({
      ...{ name: "daysix_build_info", help: "1; what serves." },
      labelNames: ["model_name", "version", "node_version", ...kinds],
      registers: [this.#registry],
    });
    for (const { name, build } of models) {
      info.set({ model_name: name, version, node_version: process.version, ...build }, 1);
    }
  }

  /** `route`: the pattern, never the path a client made up. */
  countRequest(route: string, status: number): void {
    this.#counters.requests.inc({ route, status });
  }

  /** A client held too much of the server, and was refused or cut. */
  countRefusal(reason: string): void {
    this.#counters.refusals.inc({ reason });
  }

  /** The times of a request that was admitted now; its waits are counted as they end. */
  times(model: string, now: number): RequestTimes {
    const labels = { model_name: model };
    const { queue, firstToken, nextToken } = this.#histograms;
    return new RequestTimes(now, {
      queued: (seconds) => queue.observe(labels, seconds),
      firstToken: (seconds) => firstToken.observe(labels, seconds),
      nextToken: (seconds) => nextToken.observe(labels, seconds),
      resumed: (tokens) => this.#countResumed(model, tokens),
    });
  }

  /** Sequences of a model, by its names, that went on after a loss of ranks. */
  resumedOf(names: readonly string[]): Resumed {
    return names
      .map((name) => this.#resumed.get(name) ?? none)
      .reduce((sum, each) => addResumed(sum, each), none);
  }

  #countResumed(model: string, recomputedTokens: number): void {
    const labels = { model_name: model };
    const counted = addResumed(this.resumedOf([model]), { requests: 1, recomputedTokens });
    this.#resumed.set(model, counted);
    this.#counters.resumed.inc(labels);
    this.#counters.recomputed.inc(labels, recomputedTokens);
  }

  /** Whatever its outcome: tokens as they are billed. `now`: milliseconds since 1970. */
  countEnd(model: string, times: RequestTimes, end: GenerationEnd, now: number): void {
    const labels = { model_name: model };
    const { usage } = end;
    this.#counters.promptTokens.inc(labels, usage.prompt_tokens);
    this.#counters.generatedTokens.inc(labels, usage.completion_tokens);
    this.#counters.cacheQueries.inc(labels, usage.prompt_tokens);
    this.#counters.cacheHits.inc(labels, usage.prompt_cache_hit_tokens);
    const cut = end.outcome === "failed" ? "error" : "abort";
    for (const reason of end.finishReasons) {
      this.#counters.finished.inc({ ...labels, finished_reason: reason ?? cut });
    }
    for (const { startedAt, firstTokenAt, lastTokenAt } of times.sequences) {
      if (startedAt === undefined || firstTokenAt === undefined) continue;
      this.#histograms.prefill.observe(labels, (firstTokenAt - startedAt) / 1000);
      this.#histograms.decode.observe(labels, ((lastTokenAt ?? 0) - firstTokenAt) / 1000);
    }
    if (end.outcome !== "complete") return;
    this.#histograms.whole.observe(labels, Math.max(0, now - times.admitted) / 1000);
    this.#histograms.promptLength.observe(labels, usage.prompt_tokens);
    this.#histograms.answerLength.observe(labels, usage.completion_tokens);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  async expose(): Promise<string> {
    const stats = await Promise.all(
      this.#models.map(({ cluster }) => cluster.rankStats().catch(() => undefined)),
    );
    this.#ranks.reset();
    this.#counters.scaled.reset();
    for (const [index, model] of this.#models.entries()) this.#set(model, stats[index]);
    return this.#registry.metrics();
  }

  /** `ranks`: undefined when the engine does not answer. */
  #set({ name, load, cluster }: MeasuredModel, ranks: readonly EngineStats[] | undefined): void {
    const labels = { model_name: name };
    this.#gauges.waiting.set(labels, load.waiting);
    this.#gauges.running.set(labels, load.running);
    this.#gauges.up.set(labels, ranks ? 1 : 0);
    this.#setUnits(name, cluster.units());
    this.#setScaling(name, cluster.scaling);
    if (ranks) this.#ranks.add(name, cluster, ranks);
  }

  #setUnits(model: string, units: readonly UnitView[]): void {
    for (const role of new Set(units.map((unit) => unit.role))) {
      for (const state of unitStates) {
        const those = units.filter((unit) => unit.role === role && unit.state === state);
        this.#gauges.units.set({ model_name: model, role, state }, those.length);
      }
    }
  }

  #setScaling(model: string, scaling: ClusterView["scaling"]): void {
    for (const [role, units] of Object.entries(scaling.wanted) as [UnitView["role"], number][]) {
      const labels = { model_name: model, role };
      this.#gauges.wanted.set(labels, units);
      const { up, down } = scaling.countsOf(role);
      this.#counters.scaled.inc({ ...labels, direction: "up" }, up);
      this.#counters.scaled.inc({ ...labels, direction: "down" }, down);
    }
  }
}

/** Sequences that went on after a loss of ranks, and the tokens that were computed again for it. */
interface Resumed {
  readonly requests: number;
  readonly recomputedTokens: number;
}

const none: Resumed = { requests: 0, recomputedTokens: 0 };

const addResumed = (one: Resumed, other: Resumed): Resumed => ({
  requests: one.requests + other.requests,
  recomputedTokens: one.recomputedTokens + other.recomputedTokens,
});

const ofModel = ["model_name"];

const counters = {
  requests: {
    ...{ name: "daysix_requests_total", help: "Responses." },
    labelNames: ["route", "status"],
  },
  refusals: {
    ...{ name: "daysix_refusals_total", help: "Clients that held too much." },
    labelNames: ["reason"],
  },
  promptTokens: {
    ...{ name: "vllm:prompt_tokens_total", help: "Prompt tokens, as billed.", labelNames: ofModel },
  },
  generatedTokens: {
    ...{ name: "vllm:generation_tokens_total", help: "Generated tokens, as billed." },
    labelNames: ofModel,
  },
  cacheQueries: {
    ...{ name: "vllm:prefix_cache_queries_total", help: "Prompt tokens looked for in caches." },
    labelNames: ofModel,
  },
  cacheHits: {
    ...{ name: "vllm:prefix_cache_hits_total", help: "Of these, found, as billed." },
    labelNames: ofModel,
  },
  resumed: {
    ...{ name: "daysix_resumed_requests_total", help: "Sequences that outlived ranks." },
    labelNames: ofModel,
  },
  recomputed: {
    ...{
      name: "daysix_recomputed_tokens_total",
      help: "Computed again after losses, billed to nobody.",
    },
    labelNames: ofModel,
  },
  scaled: {
    ...{ name: "daysix_scale_changes_total", help: "Times that more or fewer units were wanted." },
    labelNames: ["model_name", "role", "direction"],
  },
  finished: {
    ...{ name: "vllm:request_success_total", help: "Choices, by what ended them." },
    labelNames: ["model_name", "finished_reason"],
  },
};

const gauges = {
  running: {
    ...{ name: "vllm:num_requests_running", help: "Sequences in work.", labelNames: ofModel },
  },
  waiting: {
    ...{ name: "vllm:num_requests_waiting", help: "Sequences not yet begun.", labelNames: ofModel },
  },
  units: {
    ...{ name: "daysix_units", help: "Units by what they compute and their state." },
    labelNames: ["model_name", "role", "state"],
  },
  wanted: {
    ...{ name: "daysix_units_wanted", help: "Units that are to serve." },
    labelNames: ["model_name", "role"],
  },
  up: { name: "daysix_engine_up", help: "1 when the engine answers.", labelNames: ofModel },
};

const histograms = {
  firstToken: {
    ...{
      name: "vllm:time_to_first_token_seconds",
      help: "From admission.",
      buckets: requestBuckets,
    },
  },
  nextToken: {
    ...{ name: "vllm:inter_token_latency_seconds", help: "Between two tokens of a choice." },
    buckets: tokenBuckets,
  },
  whole: {
    ...{ name: "vllm:e2e_request_latency_seconds", help: "From admission to the answer's end." },
    buckets: requestBuckets,
  },
  queue: {
    ...{
      name: "vllm:request_queue_time_seconds",
      help: "From admission to the first computation.",
    },
    buckets: requestBuckets,
  },
  prefill: {
    ...{ name: "vllm:request_prefill_time_seconds", help: "From there to the first token." },
    buckets: requestBuckets,
  },
  decode: {
    ...{ name: "vllm:request_decode_time_seconds", help: "From the first token to the last." },
    buckets: requestBuckets,
  },
  promptLength: {
    ...{
      name: "vllm:request_prompt_tokens",
      help: "Of complete requests.",
      buckets: lengthBuckets,
    },
  },
  answerLength: {
    ...{
      name: "vllm:request_generation_tokens",
      help: "Of all its choices.",
      buckets: lengthBuckets,
    },
  },
};

function mapValues<Key extends string, From, To>(
  record: Readonly<Record<Key, From>>,
  make: (value: From) => To,
): Record<Key, To> {
  const entries = Object.entries(record) as [Key, From][];
  return Object.fromEntries(entries.map(([key, value]) => [key, make(value)])) as Record<Key, To>;
}
