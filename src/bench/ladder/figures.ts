import { maxOverMean } from "../../balancing/index.ts";
import type { Topology, UnitRole } from "../../cluster/index.ts";
import {
  expertImbalance,
  expertLoadsOf,
  expertLoadsSince,
  type EngineStats,
  type ExpertLoads,
  type Placement,
} from "../../engine/index.ts";
import { analyse } from "../../trace/index.ts";
import type { StepBytes } from "../model/index.ts";
import { expertsTouched } from "./expert-weights.ts";
import type { RankSpan } from "./rank-spans.ts";

/** One rung as measured. */
export interface RungFigures {
  readonly name: string;
  /** Until all requests were answered: the median of the rounds. */
  readonly seconds: number;
  readonly promptTokensPerSecond: number;
  readonly answerTokensPerSecond: number;
  readonly units: readonly UnitFigures[];
  /** Of logical experts, the most chosen over the mean, the mean over layers: what routing brings. */
  readonly expertImbalance: number;
}

/** Averages over a unit's ranks. */
export interface UnitFigures {
  readonly role: UnitRole;
  readonly rowsPerStep: number;
  /** A rank's expert rows to other ranks and back, a step. */
  readonly sentBytesPerStep: number;
  /** Those of them that leave the node. */
  readonly wireBytesPerStep: number;
  /** Weights that a rank has to read for a step, as experts were chosen. */
  readonly weightBytesPerStep: number;
  /** Of the time of steps. */
  readonly compute: number;
  readonly covered: number;
  readonly exposed: number;
  readonly idle: number;
  /** Part of communication that is covered; null without any. */
  readonly coveredShare: number | null;
  /** Of the steps, how many were cut in two micro-batches. */
  readonly overlappedSteps: number;
  /** What the busiest rank's experts are given over the mean; null where each rank has all of them. */
  readonly receivedImbalance: number | null;
  /** The busiest rank's computing over the mean. */
  readonly workImbalance: number;
}

/** What a rung's rounds left behind. */
export interface Observed {
  readonly name: string;
  readonly rounds: readonly { readonly seconds: number; readonly prefillSeconds: number }[];
  readonly promptTokens: number;
  readonly answerTokens: number;
  readonly nodeOfRank: readonly number[];
  /** By rank, before the rounds and after them. */
  readonly before: readonly EngineStats[];
  readonly after: readonly EngineStats[];
  /** By rank, of the rounds. */
  readonly spans: readonly (readonly RankSpan[])[];
  /** By unit. */
  readonly placements: readonly (Placement | null)[];
}

export interface Shape {
  readonly bytes: StepBytes;
  readonly topK: number;
  /** Layers of routed experts. */
  readonly expertLayers: number;
}

export function rungFigures(
  observed: Observed,
  { units }: Topology,
  shape: Shape,
  loads: ExpertLoads,
): RungFigures {
  const { name, rounds, promptTokens, answerTokens } = observed;
  const seconds = middle(rounds.map((round) => round.seconds));
  return {
    name,
    seconds,
    promptTokensPerSecond: promptTokens / middle(rounds.map((round) => round.prefillSeconds)),
    answerTokensPerSecond: answerTokens / seconds,
    units: units.map(({ role, ranks }, index) => {
      const placement = observed.placements[index];
      return {
        role,
        ...traffic(observed, ranks, shape, { loads, replicated: placement === null }),
        ...times(observed, ranks),
        receivedImbalance: placement && expertImbalance(loads, placement, ranks.length),
      };
    }),
    expertImbalance: mean(loads.map(maxOverMean)),
  };
}

/** Loads of the rounds, of all ranks together; undefined where no rank counts. */
export function loadsOf({
  before,
  after,
}: Pick<Observed, "before" | "after">): ExpertLoads | undefined {
  const layers = Math.max(...after.map(({ traffic: counts }) => counts?.expertLoads.length ?? 0));
  const [earlier, loads] = [before, after].map((stats) => expertLoadsOf(stats, layers));
  return loads && earlier ? expertLoadsSince(loads, earlier) : loads;
}

function traffic(
  { before, after, nodeOfRank, spans }: Observed,
  ranks: readonly number[],
  { bytes, topK, expertLayers }: Shape,
  { loads, replicated }: { readonly loads: ExpertLoads; readonly replicated: boolean },
) {
  const steps = mean(ranks.map((rank) => after[rank].steps - before[rank].steps));
  const sentTo = (rank: number) =>
    (after[rank].traffic?.bytesTo ?? []).map(
      (sent, index) => sent - (before[rank].traffic?.bytesTo[index] ?? 0),
    );
  const sent = (counts: (from: number, to: number) => boolean) =>
    mean(ranks.map((from) => sum(sentTo(from).filter((_, index) => counts(from, ranks[index]))))) /
    steps;
  const stepRows = ranks.map((rank) => rowsOf(spans[rank]));
  const rowsPerStep = mean(stepRows.map(mean));
  const unitRows = replicated ? rowsPerStep : rowsPerStep * ranks.length;
  const cut = overlappedShare(ranks.map((rank) => spans[rank]));
  const whole = expertsTouched(loads, topK, unitRows);
  const halves = 2 * expertsTouched(loads, topK, unitRows / 2);
  const experts = ((1 - cut) * whole + cut * halves) / (replicated ? 1 : ranks.length);
  return {
    rowsPerStep,
    sentBytesPerStep: sent(() => true),
    wireBytesPerStep: sent((from, to) => nodeOfRank[from] !== nodeOfRank[to]),
    weightBytesPerStep: bytes.dense + bytes.head + expertLayers * experts * bytes.expert,
    overlappedSteps: cut,
  };
}

/** Rows of each step. */
const rowsOf = (spans: readonly RankSpan[]) =>
  spans.filter(({ activity }) => activity === "step").map(({ rows }) => rows);

/** Steps of which a second micro-batch was recorded, of all. */
function overlappedShare(ranks: readonly (readonly RankSpan[])[]): number {
  const spans = ranks.flat();
  const steps = spans.filter(({ activity }) => activity === "step").length;
  const gates = (microBatch: number) =>
    spans.filter((span) => span.kind === "GATE" && span.microBatch === microBatch).length;
  return steps === 0 ? 0 : gates(1) / gates(0);
}

/** Shares of the time of the unit's steps. */
function times({ spans }: Observed, ranks: readonly number[]) {
  const { ranks: analysed } = analyse(ranks.flatMap((rank) => spans[rank]));
  const total = (of: (rank: (typeof analysed)[number]) => number) => sum(analysed.map(of));
  const window = total((rank) => rank.window);
  const communication = total((rank) => rank.communication);
  const covered = total((rank) => rank.covered);
  return {
    compute: total((rank) => rank.compute) / window,
    covered: covered / window,
    exposed: total((rank) => rank.exposed) / window,
    idle: total((rank) => rank.idle) / window,
    coveredShare: communication === 0 ? null : covered / communication,
    workImbalance: maxOverMean(analysed.map((rank) => rank.compute)),
  };
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

const mean = (values: readonly number[]) => (values.length === 0 ? 0 : sum(values) / values.length);

const middle = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[(values.length - 1) >> 1];
