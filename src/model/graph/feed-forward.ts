import type { GateRule, Stream } from "../../kernels/index.ts";
import type { MlpWeights, MoeWeights } from "../checkpoint/index.ts";
import type { ExpertBatch, ExpertOutput } from "./routed-experts.ts";
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

/** Chooses each row's experts for w.normed: what is to be dispatched. */
export function gateRows(
  stream: Stream,
  w: Workspace,
  weights: MoeWeights,
  rule: GateRule,
  rows: number,
): Pick<ExpertBatch, "input" | "ids"> {
  w.project(stream, w.normed, rows, { out: w.routerLogits, weight: weights.router });
  stream.route(w.expertIds, w.expertWeights, w.routerLogits, weights.bias, rule, rows);
  const input = w.expertInput(stream.operandFormat(weights.experts.gate[0]));
  stream.quantize(input, w.normed, rows);
  return { input, ids: w.expertIds };
}

/** w.update = Σ weight · expert output over each row's experts, + w.sharedRows */
export function reduceExperts(
  stream: Stream,
  w: Workspace,
  weights: MoeWeights,
  { expertRows, places }: ExpertOutput,
  topK: number,
  rows: number,
): void {
  const [, hidden] = weights.router.shape;
  stream.combine(w.update, expertRows, w.expertWeights, places, topK, hidden, rows);
  if (weights.shared) stream.add(w.update, w.sharedRows, rows * hidden);
}
