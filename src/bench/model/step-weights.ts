import type { Weight } from "../../kernels/index.ts";
import type { LayerWeights } from "../../model/index.ts";

/** What every row is multiplied with in a layer: all but its routed experts and what is absorbed. */
export function denseProducts({ attention, ffn }: LayerWeights): Weight[] {
  const { query, kvA, output } = attention;
  const queries = query.kind === "direct" ? [query.weight] : [query.a, query.b];
  const mlp = ffn.kind === "dense" ? ffn : ffn.shared;
  return [
    ...queries,
    ...[kvA, output],
    ...(ffn.kind === "moe" ? [ffn.router] : []),
    ...(mlp ? [mlp.gate, mlp.up, mlp.down] : []),
  ];
}

/** One routed expert; of a model without any, nothing. */
export function expertProducts(layers: readonly LayerWeights[]): Weight[] {
  for (const { ffn } of layers) {
    if (ffn.kind === "moe") return [ffn.experts.gate[0], ffn.experts.up[0], ffn.experts.down[0]];
  }
  return [];
}
