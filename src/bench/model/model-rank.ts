import { SharedMemoryTransport, type SharedSegments } from "../../cluster/index.ts";
import {
  orderedPlacement,
  ParallelExperts,
  type SharedExchange,
} from "../../expert-parallel/index.ts";
import {
  createKernels,
  gaussian,
  randomSource,
  type Policy,
  type Stream,
  type WeightMemory,
  toBf16,
} from "../../kernels/index.ts";
import {
  LocalExperts,
  Model,
  modelWeights,
  openWeights,
  type KvPool,
  type ModelConfig,
  type StepBatch,
} from "../../model/index.ts";
import { nullTracer } from "../../trace/index.ts";
import { CountedExperts } from "./counted-experts.ts";
import { attendedPairs, contextRead, drawingsOf, stepsOf, type Workload } from "./workload.ts";

export interface ModelRankOptions {
  readonly directory: string;
  readonly packed: string | undefined;
  readonly policy: Policy;
  readonly weights: WeightMemory;
  readonly fastDecode: boolean;
  readonly threads: number;
  /** The largest step, and the pool, of all workloads to come. */
  readonly maxRows: number;
  readonly pages: number;
  readonly rank: number;
  /** Between ranks that hold a part of the experts each; without it this one has all. */
  readonly unit?: {
    readonly segments: SharedSegments;
    readonly ranks: readonly number[];
    readonly shared: SharedExchange;
  };
}

/** What a rank's passes of a workload read, one entry for each drawing of its tokens. */
export interface Reading {
  /** By step: the rows that chose each (layer, expert). */
  readonly chosen: readonly Uint32Array[];
  readonly rows: number;
  /** Of them, those whose logits are wanted. */
  readonly logitRows: number;
  readonly contextTokens: number;
  /** (row, token it sees) */
  readonly pairs: number;
}

/** Which model a pass runs through: the whole, or its dense layers and head alone. */
export type Depth = "whole" | "dense";

/** One rank of a bench: a model on a stream of its own, and a pool of random KV. */
export class ModelRank {
  readonly #config: ModelConfig;
  readonly #models: Readonly<Record<Depth, Model>>;
  readonly #experts: CountedExperts;
  readonly #pool: KvPool;
  readonly #options: ModelRankOptions;
  #passes: readonly (readonly StepBatch[])[] = [];
  #next = 0;

  static async open(options: ModelRankOptions): Promise<ModelRank> {
    const { config, checkpoint, files } = await openWeights(options.directory, options.packed);
    const dense = { ...config, layers: config.firstDense };
    const { policy, weights, fastDecode, maxRows, threads } = options;
    const kernels = createKernels({ threads, weights, fastDecode });
    kernels.load(files);
    const stream = kernels.createStream(policy);
    const experts = new CountedExperts(stream, createExperts(stream, config, options), config.gate);
    // Both models compute on one stream: a second one would get no threads.
    const common = { kernels: { ...kernels, createStream: () => stream }, policy, maxRows };
    const whole = new Model(config, modelWeights(checkpoint, config), {
      ...common,
      createExperts: () => experts,
    });
    const models = { whole, dense: new Model(dense, modelWeights(checkpoint, dense), common) };
    return new ModelRank(options, models, experts);
  }

  private constructor(
    options: ModelRankOptions,
    models: Readonly<Record<Depth, Model>>,
    experts: CountedExperts,
  ) {
    this.#options = options;
    this.#config = models.whole.config;
    this.#models = models;
    this.#experts = experts;
    this.#pool = models.whole.createKvPool(options.pages);
    fillRandomly(this.#pool, options.rank);
  }

  /** Draws a workload's tokens and runs each drawing once, uncounted in time. */
  async prepare(workload: Workload): Promise<Reading[]> {
    const { vocabSize, layers, gate } = this.#config;
    const random = randomSource(1 + this.#options.rank);
    const { pages } = this.#options;
    this.#passes = Array.from({ length: drawingsOf(workload) }, () =>
      stepsOf(workload, { vocabSize, pages, random }),
    );
    const readings: Reading[] = [];
    for (const steps of this.#passes) {
      const chosen: Uint32Array[] = [];
      for (const step of steps) {
        const run = () => this.#models.whole.forward(step, this.#pool);
        chosen.push(await this.#experts.count(layers * gate.experts, run));
      }
      readings.push({
        chosen,
        rows: steps.reduce((sum, step) => sum + step.rows, 0),
        logitRows: steps.reduce((sum, step) => sum + step.logitRows.length, 0),
        contextTokens: contextRead(steps),
        pairs: attendedPairs(steps),
      });
    }
    return readings;
  }

  /** Milliseconds of each of `passes` passes. */
  async run(passes: number, depth: Depth): Promise<number[]> {
    const times: number[] = [];
    for (let i = 0; i < passes; i++) {
      const began = performance.now();
      for (const step of this.#passes[this.#next % this.#passes.length]) {
        await this.#models[depth].forward(step, this.#pool);
      }
      times.push(performance.now() - began);
      this.#next++;
    }
    return times;
  }
}

function createExperts(stream: Stream, config: ModelConfig, options: ModelRankOptions) {
  const { unit, rank, maxRows } = options;
  const { gate, hiddenSize } = config;
  if (!unit) return new LocalExperts(stream, gate, maxRows, nullTracer);
  const placement = orderedPlacement(gate.experts, unit.ranks.length);
  return new ParallelExperts({
    ...{ stream, rule: gate, hidden: hiddenSize, tracer: nullTracer },
    unit: {
      transport: new SharedMemoryTransport(unit.segments, rank),
      ranks: unit.ranks,
      nodes: unit.ranks.map(() => 0),
    },
    unitRows: () => unit.ranks.length * maxRows,
    placementOf: () => placement,
    shared: unit.shared,
  });
}

/** Normal values of about a latent's size, pieces of a table from random places. */
function fillRandomly(pool: KvPool, seed: number): void {
  const random = randomSource(seed);
  const table = gaussian(random, 2 ** 18);
  const codes = Uint16Array.from(table, toBf16);
  for (const { entries } of pool.layers) {
    const values = entries instanceof Float32Array ? table : codes;
    for (let at = 0; at < entries.length;) {
      const from = Math.floor(random() * (values.length / 2));
      const piece = values.subarray(from, from + Math.min(values.length / 2, entries.length - at));
      entries.set(piece, at);
      at += piece.length;
    }
  }
}
