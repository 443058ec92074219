import type { KvLayer, StepLayout, Stream } from "../../kernels/index.ts";
import type { Tracer } from "../../trace/index.ts";
import type { LayerWeights, ModelConfig } from "../checkpoint/index.ts";
import { forwardMlp, forwardMoe } from "./feed-forward.ts";
import type { LatentAttention } from "./mla.ts";
import type { RoutedExperts } from "./routed-experts.ts";
import type { Workspace } from "./workspace.ts";

/** What blocks are computed with. */
export interface BlockContext {
  readonly config: ModelConfig;
  readonly stream: Stream;
  readonly workspace: Workspace;
  readonly attention: LatentAttention;
  readonly experts: RoutedExperts;
  readonly tracer: Tracer;
}

/** Layer `index` over w.hidden: h += attention(norm(h)); h += feed-forward(norm(h)) */
export async function forwardBlock(
  { config, stream, workspace: w, attention, experts, tracer }: BlockContext,
  layer: LayerWeights,
  index: number,
  layout: StepLayout,
  cache: KvLayer,
): Promise<void> {
  const { hiddenSize, normEpsilon, gate: rule } = config;
  const { rows } = layout;

  const span = tracer.begin("ATTN", index, rows);
  stream.rmsNorm(w.normed, w.hidden, layer.inputNorm, normEpsilon, rows);
  attention.forward(stream, w, layer.attention, cache, layout);
  stream.add(w.hidden, w.update, rows * hiddenSize);
  stream.rmsNorm(w.normed, w.hidden, layer.postNorm, normEpsilon, rows);
  tracer.end(span);

  const { ffn } = layer;
  if (ffn.kind === "dense") {
    const mlp = tracer.begin("MLP", index, rows);
    forwardMlp(stream, w, ffn, w.update, rows);
    tracer.end(mlp);
  } else {
    const context = { microBatch: 0, layer: index, rows, rule, experts, tracer };
    await forwardMoe(stream, w, ffn, context);
  }
  stream.add(w.hidden, w.update, rows * hiddenSize);
}
