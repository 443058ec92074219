import {
  byMultiplyKind,
  multiplyKindOf,
  type ByMultiplyKind,
  type MultiplyKind,
  type Policy,
  type Weight,
} from "../../kernels/index.ts";
import type { ModelConfig, ModelWeights } from "../../model/index.ts";
import { denseProducts, expertProducts } from "./step-weights.ts";

/** By what is multiplied; a multiply-add is two. */
export type Operations = ByMultiplyKind<number>;

/** What rows of a step are multiplied with, absorbed attention among it; norms and softmax do not count. */
export interface StepOperations {
  /** A row's in all layers, without routed experts and context. */
  readonly dense: Operations;
  /** The part of `dense` that each layer of routed experts has. */
  readonly expertLayer: Operations;
  /** A row's with one routed expert. */
  readonly expert: Operations;
  /** Of a row whose logits are wanted. */
  readonly head: Operations;
  /** A row's with one token of its context, in one layer. */
  readonly pair: Operations;
}

export function stepOperations(
  config: ModelConfig,
  weights: ModelWeights,
  policy: Policy,
): StepOperations {
  const linear = (...products: Weight[]) =>
    sum(
      products.map(({ dtype, shape }) => product(multiplyKindOf(policy, dtype, "linear"), shape)),
    );
  const layers = weights.layers.map((layer) => {
    const { dtype, shape } = layer.attention.kvB;
    const absorbed = product(multiplyKindOf(policy, dtype, "absorbed"), shape);
    return sum([linear(...denseProducts(layer)), absorbed]);
  });
  const { heads, latentRank, ropeWidth } = config;
  const attention = multiplyKindOf(policy, "BF16", "absorbed");
  return {
    dense: sum(layers),
    expertLayer: layers[layers.length - 1],
    expert: linear(...expertProducts(weights.layers)),
    head: linear(weights.head),
    pair: product(attention, [heads, 2 * latentRank + ropeWidth]),
  };
}

/** `parts`, each so many times. */
export function total(parts: readonly (readonly [times: number, each: Operations])[]): Operations {
  return byMultiplyKind((kind) =>
    parts.reduce((operations, [times, each]) => operations + times * each[kind], 0),
  );
}

const sum = (all: readonly Operations[]) => total(all.map((each) => [1, each]));

function product(kind: MultiplyKind, [outputs, inputs]: readonly number[]): Operations {
  return byMultiplyKind((each) => (each === kind ? 2 * outputs * inputs : 0));
}
