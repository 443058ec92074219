import type { GateRule, Stream } from "../../kernels/index.ts";
import type { Tracer } from "../../trace/index.ts";
import type { RoutedExperts } from "./routed-experts.ts";
import type { MlpWeights, MoeWeights } from "../checkpoint/index.ts";
import type { Workspace } from "./workspace.ts";

export interface MoeContext {
  readonly microBatch: number;
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
  { microBatch, layer, rows, rule, experts, tracer }: MoeContext,
): Promise<void> {
  const [, hidden] = weights.router.shape;
  const gate = tracer.begin("GATE", layer, rows, microBatch);
  w.project(stream, w.normed, rows, { out: w.routerLogits, weight: weights.router });
  stream.route(w.expertIds, w.expertWeights, w.routerLogits, weights.bias, rule, rows);
  const input = w.expertInput(stream.operandFormat(weights.experts.gate[0]));
  stream.quantize(input, w.normed, rows);
  tracer.end(gate);

  const batch = { microBatch, layer, rows, input, ids: w.expertIds };
  const flight = await experts.dispatch(batch);
  if (weights.shared) {
    const shared = tracer.begin("SHARED", layer, rows, microBatch);
    forwardMlp(stream, w, weights.shared, w.sharedRows, rows);
    tracer.end(shared);
  }
  await flight.compute(weights.experts);
  const { expertRows, places } = await flight.combine();

  const reduce = tracer.begin("REDUCE", layer, rows, microBatch);
  stream.combine(w.update, expertRows, w.expertWeights, places, rule.topK, hidden, rows);
  if (weights.shared) stream.add(w.update, w.sharedRows, rows * hidden);
  tracer.end(reduce);
}
