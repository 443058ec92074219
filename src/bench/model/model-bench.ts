import { once } from "node:events";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { createSharedSegments } from "../../cluster/index.ts";
import { createSharedExchange } from "../../expert-parallel/index.ts";
import {
  PAGE_TOKENS,
  Probes,
  usableMemory,
  type ByMultiplyKind,
  type Policy,
  type WeightMemory,
} from "../../kernels/index.ts";
import { modelWeights, openCheckpoint, readConfig, type ModelConfig } from "../../model/index.ts";
import { figures, type Measured, type Round } from "./model-figures.ts";
import type { Depth, ModelRankOptions } from "./model-rank.ts";
import type { RankAnswer, RankCommand } from "./model-worker.ts";
import { median } from "../percentiles.ts";
import { stepBytes, type StepBytes } from "./step-bytes.ts";
import { stepOperations, type StepOperations } from "./step-operations.ts";
import { pagesOf, rowsOf, type Workload } from "./workload.ts";

export interface ModelBenchOptions {
  readonly directory: string;
  /** The file of its linear weights in strips, if there is one. */
  readonly packed?: string | undefined;
  readonly policy: Policy;
  readonly weights: WeightMemory;
  readonly fastDecode: boolean;
  /** Threads that step together or, with replicated experts, side by side. */
  readonly ranks: number;
  /** Compute threads of each rank. */
  readonly threads: number;
  readonly experts: "parallel" | "replicated";
  /** Layers of the whole model, where the checkpoint holds fewer. */
  readonly wholeLayers: number;
  /** All that will be measured: they size the KV. */
  readonly workloads: readonly Workload[];
  /** Time for each, at least; by default 8 seconds. */
  readonly measuredMs?: number;
}

const MEASURED_MS = 8000;
const LEAST_ROUNDS = 3;
/** A round is of as many passes as take this long; longer ones have no longer probes. */
const ROUND_MS = 60;
const LONGEST_PROBE_MS = 250;
const SHARING_ROUNDS = 7;
/** Of the usable memory, for weights and KV. */
const USED_SHARE = 0.93;

/** Ranks in threads of their own, and probes taken by this one while they wait. */
export class ModelBench {
  readonly #options: ModelBenchOptions;
  readonly #config: ModelConfig;
  readonly #bytes: StepBytes;
  readonly #operations: StepOperations;
  readonly #probes: Probes;
  readonly #workers: readonly Worker[];
  readonly #sharesExperts: boolean;

  /** @throws RangeError where weights and KV do not fit the memory */
  static async open(options: ModelBenchOptions): Promise<ModelBench> {
    const { directory, packed, policy, weights, fastDecode, ranks, threads, workloads } = options;
    const config = await readConfig(directory);
    const checkpoint = await openCheckpoint(directory, config.quantization);
    const all = modelWeights(checkpoint, config);
    const bytes = stepBytes(config, all, policy);
    const file = packed ?? join(directory, "model.safetensors");
    const pages = Math.max(...workloads.map(pagesOf));
    const kvBytes = ranks * pages * PAGE_TOKENS * config.layers * bytes.context;
    expectMemory((await stat(file)).size, kvBytes);
    const probes = new Probes({ threads: ranks * threads, policy, file, weights });
    // Brings mapped weights into the page cache and their pages into this process's tables.
    probes.readThrough();
    const numbers = Array.from({ length: ranks }, (_, rank) => rank);
    const isUnit = ranks > 1 && options.experts === "parallel";
    const maxRows = Math.max(...workloads.map(rowsOf));
    const { hiddenSize: hidden, gate } = config;
    const shared = createSharedExchange({ ranks, rows: maxRows, topK: gate.topK, hidden, policy });
    const unit = isUnit && { segments: createSharedSegments(numbers), ranks: numbers, shared };
    const workers = numbers.map((rank) => {
      const workerData: ModelRankOptions = {
        ...{ directory, packed, policy, weights, fastDecode, threads, maxRows, pages, rank },
        ...(unit && { unit }),
      };
      return new Worker(new URL("./model-worker.js", import.meta.url), { workerData });
    });
    const bench = new ModelBench(options, {
      ...{ config, bytes, probes, workers },
      operations: stepOperations(config, all, policy),
    });
    await bench.#askAll({ kind: "open" });
    return bench;
  }

  private constructor(
    options: ModelBenchOptions,
    opened: {
      readonly config: ModelConfig;
      readonly bytes: StepBytes;
      readonly operations: StepOperations;
      readonly probes: Probes;
      readonly workers: readonly Worker[];
    },
  ) {
    this.#options = options;
    this.#config = opened.config;
    this.#bytes = opened.bytes;
    this.#operations = opened.operations;
    this.#probes = opened.probes;
    this.#workers = opened.workers;
    this.#sharesExperts = options.experts === "parallel";
  }

  /** Of the kernels that are measured, and of the peaks beside them. */
  get instructions(): ByMultiplyKind<string> {
    return this.#probes.instructions;
  }

  async measure(workload: Workload): Promise<Measured> {
    const answers = await this.#askAll({ kind: "prepare", workload });
    const readings = answers.flatMap((each) => (each.kind === "prepared" ? [each.readings] : []));
    const { wholeLayers } = this.#options;
    return figures({
      ...{ workload, readings, wholeLayers },
      ...{ config: this.#config, bytes: this.#bytes, operations: this.#operations },
      ...{ sharesExperts: this.#sharesExperts, instructions: this.#probes.instructions },
      rounds: await this.#measureRounds(wholeLayers > this.#config.layers),
      peakRssBytes: process.resourceUsage().maxRSS * 1024,
    });
  }

  /** GB/s of the probes' threads where all read the same bytes, and where each reads others. */
  probeSharing(): { readonly same: number; readonly different: number } {
    const rounds = Array.from({ length: SHARING_ROUNDS }, () => ({
      same: this.#probes.sharedReadBandwidth(LONGEST_PROBE_MS),
      different: this.#probes.readBandwidth(LONGEST_PROBE_MS),
    }));
    return {
      same: median(rounds.map(({ same }) => same)),
      different: median(rounds.map(({ different }) => different)),
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  /** Passes and probes in turns, each as long as the other. */
  async #measureRounds(withDense: boolean): Promise<Round[]> {
    const rounds: Round[] = [];
    const [first] = await this.#run(1, "whole");
    const passes = Math.max(1, Math.round(ROUND_MS / first));
    const probeMs = Math.min(LONGEST_PROBE_MS, (passes * first) / 2);
    const until = performance.now() + (this.#options.measuredMs ?? MEASURED_MS);
    while (rounds.length < LEAST_ROUNDS || performance.now() < until) {
      rounds.push({
        whole: await this.#run(passes, "whole"),
        readGBs: this.#probes.readBandwidth(probeMs),
        dense: withDense ? await this.#run(passes, "dense") : [],
        peaks: this.#probes.multiplyPeaks(probeMs),
      });
    }
    return rounds;
  }

  /** Milliseconds of each pass on each rank. */
  async #run(passes: number, depth: Depth): Promise<number[]> {
    const answers = await this.#askAll({ kind: "run", passes, depth });
    return answers.flatMap((each) => (each.kind === "ran" ? each.milliseconds : []));
  }

  /** @throws Error with what a rank says is wrong */
  async #askAll(command: RankCommand): Promise<RankAnswer[]> {
    const answers = await Promise.all(
      this.#workers.map(async (worker) => {
        worker.postMessage(command);
        const [answer] = (await once(worker, "message")) as [RankAnswer];
        return answer;
      }),
    );
    for (const answer of answers) if (answer.kind === "failed") throw new Error(answer.message);
    return answers;
  }
}

function expectMemory(weightBytes: number, kvBytes: number): void {
  if (weightBytes + kvBytes <= USED_SHARE * usableMemory()) return;
  const [weights, kv, memory] = [weightBytes, kvBytes, usableMemory()].map((size) =>
    (size / 1e9).toFixed(1),
  );
  throw new RangeError(
    `--batch, --context: ${kv} GB of KV do not fit beside ${weights} GB of weights in ${memory} GB; ` +
      "measure fewer requests, shorter contexts or fewer --layers",
  );
}
