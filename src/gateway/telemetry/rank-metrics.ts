import { Counter, Gauge, type Registry } from "prom-client";
import type { EngineStats } from "../../engine/index.ts";
import { PAGE_TOKENS } from "../../kernels/index.ts";
import type { ClusterView } from "../status/index.ts";

type Sample = readonly [value: number, labels?: Readonly<Record<string, string | number>>];

interface RankFamily {
  readonly kind: "counter" | "gauge";
  readonly help: string;
  /** Beside those that say which rank it is. */
  readonly labels?: readonly string[];
  readonly read: (stats: EngineStats) => readonly Sample[];
}

const sum = (values: readonly number[] = []) => values.reduce((total, each) => total + each, 0);

/** One sample for each value of a label. */
const each = (label: string, values: Readonly<Record<string, number>>): Sample[] =>
  Object.entries(values).map(([value, count]) => [count, { [label]: value }]);

type Cache = NonNullable<EngineStats["contextCache"]>;

/** Nothing without a context cache. */
const cached = (read: (cache: Cache) => readonly Sample[]) => (stats: EngineStats) =>
  stats.contextCache ? read(stats.contextCache) : [];

/** Of vLLM's names those whose meaning is the same; the others are our own. */
const families: Readonly<Record<string, RankFamily>> = {
  daysix_rank_up: {
    ...{ kind: "gauge", help: "1 while the rank computes, 0 once it is lost." },
    read: ({ lost }) => [[lost === undefined ? 1 : 0]],
  },
  daysix_rank_sequences: {
    ...{ kind: "gauge", help: "Sequences of the rank, by what they do.", labels: ["state"] },
    read: ({ waiting, running }) => each("state", { waiting, running }),
  },
  "vllm:kv_cache_usage_perc": {
    ...{ kind: "gauge", help: "Share of the KV pool in use by sequences, 0 to 1." },
    read: ({ pages, pagesInUse }) => [[pages === 0 ? 0 : pagesInUse / pages]],
  },
  "vllm:cache_config_info": {
    ...{ kind: "gauge", help: "Tokens of a KV page, and pages of the pool." },
    labels: ["block_size", "num_gpu_blocks"],
    read: ({ pages }) => [[1, { block_size: PAGE_TOKENS, num_gpu_blocks: pages }]],
  },
  daysix_kv_pages: {
    ...{ kind: "gauge", help: "Pages of the KV pool: all, in use, kept for reuse." },
    labels: ["state"],
    read: (stats) =>
      each("state", { total: stats.pages, in_use: stats.pagesInUse, cached: stats.pagesCached }),
  },
  "vllm:num_preemptions_total": {
    ...{ kind: "counter", help: "Sequences requeued because pages ran out." },
    read: ({ preemptions }) => [[preemptions]],
  },
  "vllm:spec_decode_num_draft_tokens_total": {
    ...{ kind: "counter", help: "Tokens guessed or drafted, and computed along." },
    read: ({ proposedTokens }) => [[proposedTokens]],
  },
  "vllm:spec_decode_num_accepted_tokens_total": {
    ...{ kind: "counter", help: "Of these, right." },
    read: ({ acceptedTokens }) => [[acceptedTokens]],
  },
  daysix_steps_total: {
    ...{ kind: "counter", help: "Forward passes." },
    read: ({ steps }) => [[steps]],
  },
  daysix_generated_tokens_total: {
    ...{ kind: "counter", help: "Tokens chosen, whether they were told or not." },
    read: ({ generatedTokens }) => [[generatedTokens]],
  },
  daysix_exchange_bytes_total: {
    ...{ kind: "counter", help: "Bytes sent to other ranks by dispatch and combine." },
    read: ({ traffic }) => (traffic ? [[sum(traffic.bytesTo)]] : []),
  },
  daysix_exchange_rows_total: {
    ...{ kind: "counter", help: "Rows dispatched to other ranks." },
    read: ({ traffic }) => (traffic ? [[sum(traffic.rowsTo)]] : []),
  },
  "vllm:external_prefix_cache_queries_total": {
    ...{ kind: "counter", help: "Prompt tokens looked for in the context cache." },
    read: cached(({ hits, misses }) => [[PAGE_TOKENS * (hits + misses)]]),
  },
  "vllm:external_prefix_cache_hits_total": {
    ...{ kind: "counter", help: "Of these, found." },
    read: cached(({ hits }) => [[PAGE_TOKENS * hits]]),
  },
  daysix_context_cache_bytes_total: {
    ...{ kind: "counter", help: "Bytes of blocks.", labels: ["direction"] },
    read: cached(({ bytesRead, bytesWritten }) =>
      each("direction", { read: bytesRead, written: bytesWritten }),
    ),
  },
  daysix_context_cache_blocks_total: {
    ...{
      kind: "counter",
      help: "Blocks written, dropped, computed since that was faster than to read, or lent by decode ranks.",
      labels: ["outcome"],
    },
    read: cached(({ written, dropped, computed, lent }) =>
      each("outcome", { written, dropped, computed, lent }),
    ),
  },
  daysix_context_cache_block_seconds: {
    ...{ kind: "gauge", help: "What a block takes to be read, or to be lent to a prefill rank." },
    labels: ["way"],
    read: cached(({ blockMicros }) =>
      Object.entries(blockMicros).map(([way, micros]) => [micros / 1e6, { way }]),
    ),
  },
  daysix_context_cache_troubles_total: {
    ...{ kind: "counter", help: "Reads and writes without an answer.", labels: ["kind"] },
    read: cached(({ late, failed }) => each("kind", { late, failed })),
  },
  daysix_context_cache_rejected_total: {
    ...{ kind: "counter", help: "Blocks that were no good.", labels: ["reason"] },
    read: cached(({ rejected }) => each("reason", rejected)),
  },
  daysix_context_cache_bypassed: {
    ...{ kind: "gauge", help: "1 while the store is not asked.", labels: ["operations"] },
    read: cached(({ bypassed }) =>
      each("operations", {
        reads: bypassed.reads === undefined ? 0 : 1,
        writes: bypassed.writes === undefined ? 0 : 1,
      }),
    ),
  },
};

const place = ["model_name", "unit", "role", "rank", "node"];

/** What ranks count, each with its place in the cluster. */
export class RankMetrics {
  readonly #metrics: readonly (readonly [RankFamily, Counter | Gauge])[];

  constructor(registry: Registry) {
    this.#metrics = Object.entries(families).map(([name, family]) => {
      const { help, labels = [] } = family;
      const Kind = family.kind === "counter" ? Counter : Gauge;
      const labelNames = [...place, ...labels];
      return [family, new Kind({ name, help, labelNames, registers: [registry] })];
    });
  }

  /** What was told of ranks before is told no more. */
  reset(): void {
    for (const [, metric] of this.#metrics) metric.reset();
  }

  /** `stats`: by rank. */
  add(
    model: string,
    cluster: Pick<ClusterView, "topology" | "nodeOfRank" | "units">,
    stats: readonly EngineStats[],
  ): void {
    const { topology, nodeOfRank } = cluster;
    const units = cluster.units();
    for (const [index, { role, ranks }] of topology.units.entries()) {
      const { unit } = units[index];
      for (const rank of ranks.filter((one) => stats[one] !== undefined)) {
        const labels = { model_name: model, unit, role, rank, node: nodeOfRank[rank] };
        for (const [family, metric] of this.#metrics) {
          for (const [value, more] of family.read(stats[rank])) {
            metric.inc({ ...labels, ...more }, value);
          }
        }
      }
    }
  }
}
