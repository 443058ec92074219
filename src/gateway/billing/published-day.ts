/**
 * The day DeepSeek published: 24 hours from 2025-02-27 12:00 in Beijing ("DeepSeek-V3/R1 Inference
 * System Overview", day 6 of its open-source week). Node counts are read off the article's chart.
 */
import type { LedgerRecord, Topology } from "./ledger-record.ts";

/** When the day began: milliseconds since 1970. */
export const publishedNoon = Date.parse("2025-02-27T12:00:00+08:00");
const HOUR_MS = 3_600_000;

/** Hours after noon in Beijing, and the nodes that serve from then on. */
const staircase: readonly (readonly [hour: number, nodes: number])[] = [
  [0, 278],
  [12, 218],
  [13.25, 188],
  [14, 158],
  [14.75, 128],
  [15, 98],
  [15.5, 68],
  [18.5, 98],
  [19, 128],
  [19.5, 188],
  [20, 218],
  [20.5, 278],
];

const inputTokens = 608e9;
const hitTokens = 342e9;
const outputTokens = 168e9;

/** Dollars of theoretical income in each hour, read off the article's chart; they add up to its income. */
export const publishedHourlyIncome = [
  ...[
    27_023, 28_514, 30_465, 30_924, 30_465, 27_826, 26_793, 29_547, 30_695, 30_809, 31_039, 29_777,
  ],
  ...[21_744, 17_958, 13_138, 7975, 6368, 6368, 7975, 13_712, 23_121, 29_432, 30_465, 29_891],
] as const;

/** DeepSeek's own figures, as the article prints them. */
export const publishedFigures = {
  inputTokens: "608 B",
  hitShare: "56.3 %",
  outputTokens: "168 B",
  outputSpeed: "20–22 tokens/s",
  kvTokensPerOutputToken: "4,989 tokens",
  averageNodes: "226.75",
  inputPerPrefillNode: "~73.7k tokens/s",
  outputPerDecodeNode: "~14.8k tokens/s",
  cost: "$87,072",
  theoreticalIncome: "$562,027",
  theoreticalMargin: "545 %",
} as const;

/** The accelerator's price of the article: an H800, in dollars an hour. */
export const publishedAcceleratorHour = "2";

/** The name under which DeepSeek sold R1, in whose price the article reckons. */
export const publishedPriceModel = "deepseek-reasoner";

/** The day as a ledger: the staircase, and all its tokens as one request of unknown bill. */
export function* publishedDay(): Generator<LedgerRecord> {
  for (const [index, [hour, nodes]] of staircase.entries()) {
    const event = index === 0 ? "start" : "change";
    yield { kind: "topology", time: publishedNoon + hour * HOUR_MS, event, ...topologyOf(nodes) };
  }
  const time = publishedNoon + 24 * HOUR_MS;
  yield {
    ...{ kind: "request", time, id: "the whole day", requestId: "", tenant: "everybody" },
    ...{ model: publishedPriceModel, outcome: "complete", finishReasons: [], kvTokensRead: 0 },
    tokens: {
      hit: hitTokens,
      miss: inputTokens - hitTokens,
      output: outputTokens,
      reasoning: 0,
    },
    timing: { sequences: 0, firstTokenMs: 0, decodeMs: 0 },
    billing: { kind: "unbilled", reason: "unknown" },
  };
  yield { kind: "topology", time, event: "stop", ...topologyOf(staircase[0][1]) };
}

/**
 * The chart's steps are multiples of 30 nodes. A decode unit is 18 nodes and a prefill unit 4, so
 * with each decode unit go three prefill units, and two more are always there. DeepSeek does not
 * say so; it is the one rule of this form that meets both published throughputs.
 */
function topologyOf(nodes: number): Topology {
  const decodeUnits = (nodes - 2 * 4) / (18 + 3 * 4);
  return {
    prefillNodes: (3 * decodeUnits + 2) * 4,
    decodeNodes: decodeUnits * 18,
    combinedNodes: 0,
    acceleratorsPerNode: 8,
  };
}
