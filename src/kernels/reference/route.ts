import { exponential32 } from "../elementary.ts";
import { float32 } from "../float-formats.ts";
import { LANES, sumOfLanes } from "../lanes.ts";
import type { GateRule, RowGroups } from "../stream.ts";

/**
 * Chooses each row's experts from its router logits. Equal scores go to the lower expert; ids come
 * out ascending, the order in which their outputs are added.
 *
 * DeepSeek-V3 (`noaux_tc`): sigmoid scores, the bias added for the choice only, a group scored by
 * its two best, groups not kept masked out. DeepSeek-V2: softmax scores, a group by its best.
 */
export function route(
  ids: Int32Array,
  weights: Float32Array,
  logits: Float32Array,
  bias: Float32Array | undefined,
  rule: GateRule,
  rows: number,
): void {
  const { experts, topK } = rule;
  const scores = new Float32Array(experts);
  const choice = new Float32Array(experts);
  for (let row = 0; row < rows; row++) {
    const rowLogits = logits.subarray(row * experts, (row + 1) * experts);
    if (rule.scoring === "sigmoid") sigmoid(scores, rowLogits);
    else softmax(scores, rowLogits);
    for (let e = 0; e < experts; e++)
      choice[e] = float32(scores[e] + (bias ? float32(bias[e]) : 0));
    if (rule.method !== "greedy") maskGroups(choice, rule);
    const chosen = largest(choice, topK).sort((a, b) => a - b);
    ids.set(chosen, row * topK);
    weigh(weights.subarray(row * topK, (row + 1) * topK), chosen, scores, rule);
  }
}

/** A choice's weight is its score without the bias, normalised over the choices where asked. */
function weigh(out: Float32Array, chosen: readonly number[], scores: Float32Array, rule: GateRule) {
  let sum = 0;
  for (const expert of chosen) sum = float32(sum + scores[expert]);
  const divisor = rule.normalise ? float32(sum + 1e-20) : 1;
  chosen.forEach((expert, j) => {
    out[j] = float32(float32(scores[expert] / divisor) * Math.fround(rule.scale));
  });
}

function maskGroups(choice: Float32Array, rule: GateRule): void {
  const size = rule.experts / rule.groups;
  const groupScores = new Float32Array(rule.groups);
  for (let g = 0; g < rule.groups; g++) {
    const group = choice.subarray(g * size, (g + 1) * size);
    const best = largest(group, rule.method === "noaux_tc" ? 2 : 1);
    for (const i of best) groupScores[g] = float32(groupScores[g] + group[i]);
  }
  const kept = new Set(largest(groupScores, rule.topGroups));
  for (let g = 0; g < rule.groups; g++) {
    if (!kept.has(g)) choice.fill(-Infinity, g * size, (g + 1) * size);
  }
}

/** Indices of the `count` largest values, largest first; equal values in index order. */
function largest(values: Float32Array, count: number): number[] {
  const best: number[] = [];
  for (let i = 0; i < values.length; i++) {
    let place = best.length;
    while (place > 0 && values[i] > values[best[place - 1]]) place--;
    if (place >= count) continue;
    best.splice(place, 0, i);
    if (best.length > count) best.pop();
  }
  return best;
}

function sigmoid(out: Float32Array, logits: Float32Array): void {
  for (let e = 0; e < logits.length; e++) {
    out[e] = float32(1 / float32(1 + exponential32(-float32(logits[e]))));
  }
}

function softmax(out: Float32Array, logits: Float32Array): void {
  let maximum = -Infinity;
  for (const logit of logits) maximum = Math.max(maximum, logit);
  const sums = new Float32Array(LANES);
  for (let e = 0; e < logits.length; e++) {
    out[e] = exponential32(float32(float32(logits[e]) - float32(maximum)));
    sums[e % LANES] = float32(sums[e % LANES] + out[e]);
  }
  const divisor = sumOfLanes(sums);
  for (let e = 0; e < logits.length; e++) out[e] = float32(out[e] / divisor);
}

/** Sorts (row, choice) pairs by expert, rows ascending inside one (a counting sort). */
export function groupRows(out: RowGroups, ids: Int32Array, rule: GateRule, rows: number): void {
  const { starts, sources, places } = out;
  const pairs = rows * rule.topK;
  starts.fill(0);
  for (let pair = 0; pair < pairs; pair++) starts[ids[pair] + 1]++;
  for (let e = 0; e < rule.experts; e++) starts[e + 1] += starts[e];
  const next = starts.slice(0, rule.experts);
  for (let pair = 0; pair < pairs; pair++) {
    const place = next[ids[pair]]++;
    sources[place] = Math.floor(pair / rule.topK);
    places[pair] = place;
  }
}
