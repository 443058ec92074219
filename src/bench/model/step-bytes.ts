import { codeBytes, type Policy, type Weight } from "../../kernels/index.ts";
import {
  kvEntryBytes,
  type LayerWeights,
  type ModelConfig,
  type ModelWeights,
} from "../../model/index.ts";
import { denseProducts, expertProducts } from "./step-weights.ts";

/** Bytes of a weight in its file, with its scales. */
export function weightBytes({ dtype, shape, scale }: Weight): number {
  return codeBytes(dtype, shape) + (scale ? weightBytes(scale) : 0);
}

/** What steps of a model read from memory, at least: each weight they use once, and the KV. */
export interface StepBytes {
  /** What every step reads on each rank: attention, routers, dense layers and shared experts. */
  readonly dense: number;
  /** What a step reads besides where logits are wanted. */
  readonly head: number;
  /** One routed expert. */
  readonly expert: number;
  /** A row's embedding. */
  readonly embedding: number;
  /** The part of `dense` that each layer of routed experts has. */
  readonly expertLayer: number;
  /** A token's KV in one layer. */
  readonly context: number;
}

export function stepBytes(config: ModelConfig, weights: ModelWeights, policy: Policy): StepBytes {
  const layers = weights.layers.map(denseBytes);
  return {
    dense: layers.reduce((total, bytes) => total + bytes, 0),
    head: sum(weights.finalNorm, weights.head),
    expert: sum(...expertProducts(weights.layers)),
    embedding: weightBytes(weights.embed) / config.vocabSize,
    expertLayer: layers[layers.length - 1],
    context: kvEntryBytes(config, policy),
  };
}

/** A layer without its routed experts. */
function denseBytes(layer: LayerWeights): number {
  const { inputNorm, postNorm, attention, ffn } = layer;
  const { query, kvANorm, kvB } = attention;
  return sum(
    ...[inputNorm, postNorm, kvANorm, kvB],
    ...(query.kind === "latent" ? [query.norm] : []),
    ...(ffn.kind === "moe" && ffn.bias ? [ffn.bias] : []),
    ...denseProducts(layer),
  );
}

function sum(...weights: Weight[]): number {
  return weights.reduce((total, weight) => total + weightBytes(weight), 0);
}
