import type { GateRule, Stream } from "../kernels/index.ts";
import type { MlpWeights, MoeWeights } from "./weights.ts";
import type { Workspace } from "./workspace.ts";

/** out = W_down(silu(W_gate x) ⊙ W_up x) for w.normed: a dense layer, or the shared expert. */
export function forwardMlp(
  stream: Stream,
  w: Workspace,
  weights: MlpWeights,
  out: Float32Array,
  rows: number,
): void {
  const gate = { out: w.gate, weight: weights.gate };
  const up = { out: w.up, weight: weights.up };
  w.project(stream, w.normed, rows, gate, up);
  stream.siluMultiply(w.product, w.gate, w.up, rows * weights.gate.shape[0]);
  w.project(stream, w.product, rows, { out, weight: weights.down });
}

/** w.update = Σ weight · expert(w.normed) over each row's experts, + shared expert. */
export function forwardMoe(
  stream: Stream,
  w: Workspace,
  weights: MoeWeights,
  rule: GateRule,
  rows: number,
): void {
  const hidden = weights.router.shape[1];
  chooseExperts(stream, w, weights, rule, rows);
  computeExperts(stream, w, weights, rule, rows);
  stream.combine(w.update, w.expertRows, w.expertWeights, w.groups.places, rule.topK, hidden, rows);
  if (weights.shared) {
    forwardMlp(stream, w, weights.shared, w.sharedRows, rows);
    stream.add(w.update, w.sharedRows, rows * hidden);
  }
}

function chooseExperts(
  stream: Stream,
  w: Workspace,
  weights: MoeWeights,
  rule: GateRule,
  rows: number,
): void {
  w.project(stream, w.normed, rows, { out: w.routerLogits, weight: weights.router });
  stream.route(w.expertIds, w.expertWeights, w.routerLogits, weights.bias, rule, rows);
  stream.groupRows(w.groups, w.expertIds, rule, rows);
}

/** w.expertRows: one row per (row, choice), sorted by expert. */
function computeExperts(
  stream: Stream,
  w: Workspace,
  weights: MoeWeights,
  rule: GateRule,
  rows: number,
): void {
  const { gate, up, down } = weights.experts;
  const pairs = rows * rule.topK;
  const [width, hidden] = gate[0].shape;
  const maxPairs = w.groups.sources.length;

  const format = stream.operandFormat(gate[0]);
  const input = w.operand("input", format, hidden);
  const sorted = w.operand("sorted", format, hidden, maxPairs);
  stream.quantize(input, w.normed, rows);
  stream.gather(sorted, input, w.groups.sources, pairs);
  stream.groupedGemm(w.expertGate, sorted, gate, w.groups, pairs);
  stream.groupedGemm(w.expertUp, sorted, up, w.groups, pairs);

  stream.siluMultiply(w.expertProduct, w.expertGate, w.expertUp, pairs * width);
  const product = w.operand("product", stream.operandFormat(down[0]), width, maxPairs);
  stream.quantize(product, w.expertProduct, pairs);
  stream.groupedGemm(w.expertRows, product, down, w.groups, pairs);
}
