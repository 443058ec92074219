import type { EngineStats } from "../../engine/index.ts";
import type { Admission } from "../admission.ts";
import type { Usage } from "../wire.ts";

const latencyBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

/** Counts of observations at or below each bound, as Prometheus keeps them. */
class Histogram {
  readonly #counts = latencyBuckets.map(() => 0);
  #count = 0;
  #sum = 0;

  observe(seconds: number): void {
    this.#count++;
    this.#sum += seconds;
    const bucket = latencyBuckets.findIndex((bound) => seconds <= bound);
    if (bucket >= 0) this.#counts[bucket]++;
  }

  lines(name: string): string[] {
    let below = 0;
    const buckets = latencyBuckets.map((bound, index) => {
      below += this.#counts[index];
      return `${name}_bucket{le="${bound}"} ${below}`;
    });
    return [
      ...buckets,
      `${name}_bucket{le="+Inf"} ${this.#count}`,
      `${name}_sum ${this.#sum}`,
      `${name}_count ${this.#count}`,
    ];
  }
}

type Family = [name: string, type: string, help: string, lines: string[]];

/** One line for each value of a label. */
function labelled(name: string, label: string, values: Readonly<Record<string, number>>): string[] {
  return Object.entries(values).map(
    ([value, count]) => `daysix_${name}{${label}="${value}"} ${count}`,
  );
}

function contextCacheFamilies(cache: NonNullable<EngineStats["contextCache"]>): Family[] {
  const { hits, misses, written, dropped, late, failed, rejected, bypassed } = cache;
  const blocks = labelled("context_cache_blocks_total", "outcome", {
    ...{ hit: hits, miss: misses, written, dropped },
  });
  const troubles = labelled("context_cache_troubles_total", "kind", { late, failed });
  const unusable = labelled("context_cache_rejected_total", "reason", rejected);
  const bytes = labelled("context_cache_bytes_total", "direction", {
    ...{ read: cache.bytesRead, written: cache.bytesWritten },
  });
  const state = labelled("context_cache_bypassed", "operations", {
    reads: bypassed.reads === undefined ? 0 : 1,
    writes: bypassed.writes === undefined ? 0 : 1,
  });
  return [
    ["context_cache_blocks_total", "counter", "Blocks asked for, and to be kept.", blocks],
    ["context_cache_bytes_total", "counter", "Bytes of blocks.", bytes],
    ["context_cache_troubles_total", "counter", "Reads and writes without an answer.", troubles],
    ["context_cache_rejected_total", "counter", "Blocks that were no good.", unusable],
    ["context_cache_bypassed", "gauge", "1 while the store is not asked.", state],
  ];
}

/** The gateway's figures, in Prometheus' text format. */
export class Metrics {
  readonly #requests = new Map<string, number>();
  readonly #refusals = new Map<string, number>();
  readonly #timeToFirstToken = new Histogram();
  readonly #interToken = new Histogram();
  #promptTokens = 0;
  #hitTokens = 0;
  #completionTokens = 0;
  #resumed = { requests: 0, recomputedTokens: 0 };

  /** `route`: the pattern, never the path a client made up. */
  countRequest(route: string, status: number): void {
    const labels = `route="${route}",status="${status}"`;
    this.#requests.set(labels, (this.#requests.get(labels) ?? 0) + 1);
  }

  /** A client held too much of the server, and was refused or cut. */
  countRefusal(reason: string): void {
    this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + 1);
  }

  countUsage(usage: Usage): void {
    this.#promptTokens += usage.prompt_tokens;
    this.#hitTokens += usage.prompt_cache_hit_tokens;
    this.#completionTokens += usage.completion_tokens;
  }

  /** Sequences that went on after a loss of ranks, and the tokens that were computed again for it. */
  get resumed(): { readonly requests: number; readonly recomputedTokens: number } {
    return this.#resumed;
  }

  countResumed(recomputedTokens: number): void {
    const { requests, recomputedTokens: before } = this.#resumed;
    this.#resumed = { requests: requests + 1, recomputedTokens: before + recomputedTokens };
  }

  observeFirstToken(milliseconds: number): void {
    this.#timeToFirstToken.observe(milliseconds / 1000);
  }

  observeNextToken(milliseconds: number): void {
    this.#interToken.observe(milliseconds / 1000);
  }

  /** `engine`: undefined when the engine does not answer. */
  expose(admission: Admission, engine: EngineStats | undefined): string {
    const families: Family[] = [];
    const add = (name: string, type: string, help: string, value: number) =>
      families.push([name, type, help, [`daysix_${name} ${value}`]]);

    const requests = [...this.#requests].map(
      ([labels, count]) => `daysix_requests_total{${labels}} ${count}`,
    );
    families.push(["requests_total", "counter", "Requests answered.", requests]);
    const refusals = [...this.#refusals].map(
      ([reason, count]) => `daysix_refusals_total{reason="${reason}"} ${count}`,
    );
    families.push(["refusals_total", "counter", "Clients that held too much.", refusals]);
    add("prompt_tokens_total", "counter", "Prompt tokens billed.", this.#promptTokens);
    add("prompt_cache_hit_tokens_total", "counter", "Of these, cache hits.", this.#hitTokens);
    add("completion_tokens_total", "counter", "Generated tokens billed.", this.#completionTokens);
    add("resumed_requests_total", "counter", "Outlived ranks.", this.#resumed.requests);
    add(
      "recomputed_tokens_total",
      "counter",
      "Computed again after losses, billed to nobody.",
      this.#resumed.recomputedTokens,
    );
    add("requests_waiting", "gauge", "Sequences not yet begun.", admission.waiting);
    add("requests_running", "gauge", "Sequences in work.", admission.running);
    add("engine_up", "gauge", "1 when the engine answers.", engine ? 1 : 0);
    if (engine) {
      families.push([
        "kv_pages",
        "gauge",
        "Pages of the KV pool: all, in use by requests, kept for reuse.",
        [
          `daysix_kv_pages{state="total"} ${engine.pages}`,
          `daysix_kv_pages{state="in_use"} ${engine.pagesInUse}`,
          `daysix_kv_pages{state="cached"} ${engine.pagesCached}`,
        ],
      ]);
      add("engine_steps_total", "counter", "Forward passes.", engine.steps);
      add("engine_generated_tokens_total", "counter", "Tokens sampled.", engine.generatedTokens);
      add(
        "engine_proposed_tokens_total",
        "counter",
        "Guessed and computed.",
        engine.proposedTokens,
      );
      add("engine_accepted_tokens_total", "counter", "Of these, right.", engine.acceptedTokens);
      add("preemptions_total", "counter", "Sequences requeued for pages.", engine.preemptions);
      if (engine.contextCache) families.push(...contextCacheFamilies(engine.contextCache));
    }
    const histogram = (name: string, help: string, values: Histogram) =>
      families.push([name, "histogram", help, values.lines(`daysix_${name}`)]);
    histogram("time_to_first_token_seconds", "From admission.", this.#timeToFirstToken);
    histogram("inter_token_seconds", "Between two tokens of a choice.", this.#interToken);

    return families
      .flatMap(([name, type, help, lines]) => [
        `# HELP daysix_${name} ${help}`,
        `# TYPE daysix_${name} ${type}`,
        ...lines,
      ])
      .map((line) => `${line}\n`)
      .join("");
  }
}
