import type { GateRule, Stream } from "../../kernels/index.ts";
import type { Tracer } from "../../trace/index.ts";
import type { RoutedExperts } from "./routed-experts.ts";
import type { MlpWeights, MoeWeights } from "../checkpoint/index.ts";
import type { Workspace } from "./workspace.ts";

export interface MoeContext {
  readonly layer: number;
  readonly rows: number;
  readonly rule: GateRule;
  readonly experts: RoutedExperts;
  readonly tracer: Tracer;
}

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
export async function forwardMoe(
  stream: Stream,
  w: Workspace,
  weights: MoeWeights,
  { layer, rows, rule, experts, tracer }: MoeContext,
): Promise<void> {
  const [, hidden] = weights.router.shape;
  const gate = tracer.begin("GATE", layer, rows);
  w.project(stream, w.normed, rows, { out: w.routerLogits, weight: weights.router });
  stream.route(w.expertIds, w.expertWeights, w.routerLogits, weights.bias, rule, rows);

  const input = w.operand(stream.operandFormat(weights.experts.gate[0]), hidden);
  stream.quantize(input, w.normed, rows);
  tracer.end(gate);

  const call = { layer, rows, input, ids: w.expertIds };
  const { expertRows, places } = await experts.compute(call, weights.experts);
  const reduce = tracer.begin("REDUCE", layer, rows);
  stream.combine(w.update, expertRows, w.expertWeights, places, rule.topK, hidden, rows);
  tracer.end(reduce);

  if (weights.shared) {
    const shared = tracer.begin("SHARED", layer, rows);
    forwardMlp(stream, w, weights.shared, w.sharedRows, rows);
    stream.add(w.update, w.sharedRows, rows * hidden);
    tracer.end(shared);
  }
}
