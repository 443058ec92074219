import { byMultiplyKind, type ByMultiplyKind } from "../../kernels/index.ts";
import type { ModelConfig } from "../../model/index.ts";
import type { Reading } from "./model-rank.ts";
import { median, percentile } from "../percentiles.ts";
import { roofOf, type Roof, type Speeds, type Work } from "./roof.ts";
import type { StepBytes } from "./step-bytes.ts";
import { total, type StepOperations } from "./step-operations.ts";
import { tokensOf, type Workload } from "./workload.ts";

/** Some passes of a workload, and the probes taken right behind them. */
export interface Round extends Speeds {
  /** Milliseconds of each pass of each rank. */
  readonly whole: readonly number[];
  /** The same through the dense layers and the head alone; none where nothing is extrapolated. */
  readonly dense: readonly number[];
}

export interface Measured extends Speeds {
  readonly measure: Workload["measure"];
  /** Requests of each rank. */
  readonly batch: number;
  readonly prompt: number;
  readonly context: number;
  /** Of all ranks, from the median. */
  readonly tokensPerSecond: number;
  /** Milliseconds of a step, or of a whole prompt. */
  readonly p20: number;
  readonly median: number;
  /** What all ranks together read: dense weights, the experts chosen, and KV. */
  readonly bytesPerStep: number;
  readonly rowsPerExpert: RowsPerExpert;
  /** The instructions whose peaks were probed. */
  readonly instructions: ByMultiplyKind<string>;
  /** Of the roof of bytes or that of arithmetic, whichever is slower. */
  readonly roofShare: number;
  readonly bound: Roof["bound"];
  readonly peakRssBytes: number;
  readonly layers: number;
  /** What all the model's layers would take, where fewer were measured. */
  readonly extrapolated?: Extrapolated;
}

/** How a step's rows spread over a layer's routed experts. */
export interface RowsPerExpert {
  /** Of the experts that have any. */
  readonly mean: number;
  readonly max: number;
  /** How many have any, on average. */
  readonly experts: number;
}

export interface Extrapolated {
  readonly layers: number;
  readonly tokensPerSecond: number;
  readonly median: number;
  /** Milliseconds of one layer with routed experts, and its share of the roof. */
  readonly layerMedian: number;
  readonly layerRoofShare: number;
}

export interface FiguresOf {
  readonly workload: Workload;
  readonly config: ModelConfig;
  readonly bytes: StepBytes;
  readonly operations: StepOperations;
  readonly instructions: ByMultiplyKind<string>;
  /** By rank and drawing. */
  readonly readings: readonly (readonly Reading[])[];
  /** Each expert is read once for all ranks, not once on each. */
  readonly sharesExperts: boolean;
  readonly rounds: readonly Round[];
  /** Of the whole model. */
  readonly wholeLayers: number;
  readonly peakRssBytes: number;
}

export function figures(of: FiguresOf): Measured {
  const { workload, config, instructions, readings, rounds, wholeLayers, peakRssBytes } = of;
  const tokens = readings.length * tokensOf(workload);
  const times = rounds.flatMap(({ whole }) => whole);
  const time = median(times);
  const work = workOf(of);
  const speeds: Speeds = {
    readGBs: median(rounds.map(({ readGBs }) => readGBs)),
    peaks: byMultiplyKind((kind) => median(rounds.map(({ peaks }) => peaks[kind]))),
  };
  /** Others on the machine slow a round's passes and its probes alike: shares are taken by round. */
  const share = (part: Work, timeOf: (round: Round) => number) =>
    median(rounds.map((round) => roofOf(part, round).milliseconds / timeOf(round)));
  const expertLayers = config.layers - config.firstDense;
  const layerTime = ({ whole, dense }: Round) => (median(whole) - median(dense)) / expertLayers;
  const layerMedian = median(rounds.map(layerTime));
  const wholeTime = time + (wholeLayers - config.layers) * layerMedian;
  return {
    measure: workload.measure,
    batch: workload.measure === "decode" ? workload.batch : 1,
    prompt: workload.measure === "decode" ? 0 : workload.prompt,
    context: workload.measure === "decode" ? workload.context : 0,
    tokensPerSecond: (1000 * tokens) / time,
    p20: percentile(times, 0.2),
    median: time,
    bytesPerStep: work.all.bytes,
    rowsPerExpert: rowsPerExpert(of),
    ...{ ...speeds, instructions },
    roofShare: share(work.all, ({ whole }) => median(whole)),
    bound: roofOf(work.all, speeds).bound,
    peakRssBytes,
    layers: config.layers,
    ...(wholeLayers > config.layers && {
      extrapolated: {
        layers: wholeLayers,
        tokensPerSecond: (1000 * tokens) / wholeTime,
        median: wholeTime,
        layerMedian,
        layerRoofShare: share(work.expertLayer, layerTime),
      },
    }),
  };
}

/** A pass on all ranks, the mean of its drawings: all of it, and a layer with experts. */
export function workOf(
  passes: Pick<FiguresOf, "config" | "bytes" | "operations" | "readings" | "sharesExperts">,
): { readonly all: Work; readonly expertLayer: Work } {
  const { config, bytes, operations, readings } = passes;
  const { layers, firstDense, gate } = config;
  const ranks = readings.length;
  const drawings = readings[0].length;
  const steps = readings[0][0].chosen.length;
  const mean = (of: (reading: Reading) => number) =>
    readings.flat().reduce((sum, reading) => sum + of(reading), 0) / drawings;
  const experts = chosenRows(passes).flatMap(chosenCounts).length;
  const expertBytes = (experts / drawings) * bytes.expert;
  const contextTokens = mean((reading) => reading.contextTokens);
  const rows = mean((reading) => reading.rows);
  const pairs = mean((reading) => reading.pairs);
  const expertLayers = layers - firstDense;
  return {
    all: {
      bytes:
        ranks * (steps * bytes.dense + bytes.head) +
        expertBytes +
        rows * bytes.embedding +
        contextTokens * layers * bytes.context,
      operations: total([
        [rows, operations.dense],
        [rows * gate.topK * expertLayers, operations.expert],
        [mean((reading) => reading.logitRows), operations.head],
        [pairs * layers, operations.pair],
      ]),
    },
    expertLayer: {
      bytes:
        ranks * steps * bytes.expertLayer +
        expertBytes / Math.max(1, expertLayers) +
        contextTokens * bytes.context,
      operations: total([
        [rows, operations.expertLayer],
        [rows * gate.topK, operations.expert],
        [pairs, operations.pair],
      ]),
    },
  };
}

export function rowsPerExpert(
  passes: Pick<FiguresOf, "config" | "readings" | "sharesExperts">,
): RowsPerExpert {
  const { layers, firstDense } = passes.config;
  const steps = chosenRows(passes);
  const rows = steps.flatMap(chosenCounts);
  return {
    mean: rows.reduce((sum, count) => sum + count, 0) / rows.length,
    max: rows.reduce((most, count) => Math.max(most, count), 0),
    experts: rows.length / (steps.length * (layers - firstDense)),
  };
}

/** Rows by (layer, expert) of each step: of all ranks where they share experts, else of each. */
function chosenRows({ readings, sharesExperts }: Pick<FiguresOf, "readings" | "sharesExperts">) {
  const [first] = readings;
  return first.flatMap(({ chosen }, drawing) =>
    chosen.flatMap((_, step) => {
      const byRank = readings.map((rank) => rank[drawing].chosen[step]);
      return sharesExperts ? [sumOf(byRank)] : byRank;
    }),
  );
}

function sumOf(counts: readonly Uint32Array[]): Uint32Array {
  return counts[0].map((_, i) => counts.reduce((sum, each) => sum + each[i], 0));
}

function chosenCounts(rows: Uint32Array): number[] {
  return [...rows].filter((count) => count > 0);
}
