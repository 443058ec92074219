import type { Topology } from "../../cluster/index.ts";
import { Engine, type EngineOptions, type EngineStats } from "../../engine/index.ts";
import { modelWeights, openCheckpoint, readConfig } from "../../model/index.ts";
import type { SpanBatch, TraceWriter } from "../../trace/index.ts";
import { stepBytes } from "../model/index.ts";
import { loadsOf, rungFigures, type Observed, type RungFigures, type Shape } from "./figures.ts";
import { ladderRequests, type LadderLoad } from "./load.ts";
import { spansByRank } from "./rank-spans.ts";
import { ladderRungs, type Rung } from "./rungs.ts";

export interface LadderOptions {
  readonly engine: EngineOptions & { readonly topology: Topology };
  readonly load: LadderLoad;
  /** Measured rounds of each rung; the first is not among them. */
  readonly rounds: number;
  /** Where the spans of a rung go besides. */
  readonly traceOf?: (rung: string) => Promise<TraceWriter>;
  readonly progress?: (what: string) => void;
}

/**
 * Runs the same requests over each step of the ladder. All engines stand side by side and take turns, round
 * by round, so that what else runs on the machine meets them alike.
 */
export async function climbLadder(options: LadderOptions): Promise<RungFigures[]> {
  const { engine: engineOptions, rounds, progress = () => undefined } = options;
  const { topology } = engineOptions;
  const engines: RunningRung[] = [];
  const observed: Observed[] = [];
  try {
    for (const rung of ladderRungs(topology)) {
      progress(`${rung.name}: starting`);
      const counted = engines.find((engine) => engine.loads)?.loads;
      const engine = await RunningRung.start(rung, options, counted);
      engines.push(engine);
      await engine.warmUp();
    }
    for (let round = 1; round <= rounds; round++) {
      progress(`round ${round} of ${rounds}`);
      for (const engine of engines) await engine.run(round);
    }
    for (const engine of engines) observed.push(await engine.observed());
  } finally {
    for (const engine of engines) await engine.close();
  }
  // Nodes would take a coordinator that reckons for lost.
  const shape = await shapeOf(engineOptions);
  const counted = observed.map(loadsOf);
  return observed.map((each, i) => {
    const loads = counted[i] ?? counted.find((other) => other !== undefined) ?? [];
    return rungFigures(each, topology, shape, loads);
  });
}

async function shapeOf({ modelDirectory, policy }: EngineOptions): Promise<Shape> {
  const config = await readConfig(modelDirectory);
  const weights = modelWeights(await openCheckpoint(modelDirectory, config.quantization), config);
  return {
    bytes: stepBytes(config, weights, policy),
    topK: config.gate.topK,
    expertLayers: config.layers - config.firstDense,
  };
}

/** An engine of one rung, and what was seen of it. */
class RunningRung {
  /** How often experts were chosen while it warmed up. */
  loads: ReturnType<typeof loadsOf>;
  readonly #rung: Rung;
  readonly #engine: Engine;
  readonly #options: LadderOptions;
  readonly #batches: SpanBatch[];
  readonly #trace: TraceWriter | undefined;
  readonly #epochMs: number;
  readonly #rounds: { readonly seconds: number; readonly prefillSeconds: number }[] = [];
  #before: readonly EngineStats[] = [];
  #measuredFromMs = 0;

  static async start(
    rung: Rung,
    options: LadderOptions,
    loads: ReturnType<typeof loadsOf>,
  ): Promise<RunningRung> {
    const trace = await options.traceOf?.(rung.name);
    const batches: SpanBatch[] = [];
    const epochMs = trace?.epochMs ?? Date.now();
    const write = (batch: SpanBatch) => {
      batches.push(batch);
      trace?.write(batch);
    };
    const engine = await Engine.start(
      { ...options.engine, ...rung.options(loads) },
      { trace: { epochMs, write } },
    );
    return new RunningRung(rung, engine, options, { batches, trace, epochMs });
  }

  private constructor(
    rung: Rung,
    engine: Engine,
    options: LadderOptions,
    traced: { batches: SpanBatch[]; trace: TraceWriter | undefined; epochMs: number },
  ) {
    this.#rung = rung;
    this.#engine = engine;
    this.#options = options;
    this.#batches = traced.batches;
    this.#trace = traced.trace;
    this.#epochMs = traced.epochMs;
  }

  async warmUp(): Promise<void> {
    const before = await this.#engine.rankStats();
    await this.run(0);
    this.#rounds.length = 0;
    this.#before = await this.#engine.rankStats();
    this.loads = loadsOf({ before, after: this.#before });
    this.#measuredFromMs = Date.now() - this.#epochMs;
  }

  /** All requests at once, until the last is answered. */
  async run(round: number): Promise<void> {
    const requests = ladderRequests(this.#options.load, round, this.#engine.vocabSize);
    const began = performance.now();
    const firsts = await Promise.all(
      requests.map(async (request) => {
        let first: number | undefined;
        for await (const event of this.#engine.generate(request)) {
          if (event.kind === "failed") throw new Error(event.message);
          if (event.kind === "token") first ??= performance.now();
        }
        return first ?? performance.now();
      }),
    );
    const secondsUntil = (time: number) => (time - began) / 1000;
    this.#rounds.push({
      seconds: secondsUntil(performance.now()),
      prefillSeconds: secondsUntil(Math.max(...firsts)),
    });
  }

  async observed(): Promise<Observed> {
    const engine = this.#engine;
    const requests = ladderRequests(this.#options.load, 0, engine.vocabSize);
    const tokens = (of: (request: (typeof requests)[number]) => number) =>
      requests.reduce((sum, request) => sum + of(request), 0);
    const { nodeOfRank } = engine;
    return {
      name: this.#rung.name,
      rounds: this.#rounds,
      promptTokens: tokens(({ prompt }) => prompt.length),
      answerTokens: tokens(({ maxTokens }) => maxTokens),
      nodeOfRank,
      before: this.#before,
      after: await engine.rankStats(),
      spans: spansByRank(this.#batches, nodeOfRank.length, 1000 * this.#measuredFromMs),
      placements: engine.placements,
    };
  }

  async close(): Promise<void> {
    await this.#engine.close();
    await this.#trace?.close();
  }
}
