/** Options of a model with random weights. */
import { shapes, type ShapeName } from "../bench/index.ts";
import { checkpointFormats, type CheckpointFormat } from "../model/index.ts";
import { integerOf, oneOf } from "./arguments.ts";

export const shapeNames = Object.keys(shapes) as ShapeName[];

export function shapeOf(value: unknown): ShapeName {
  return oneOf("shape", value, shapeNames);
}

/** At least one with routed experts, from which the others are extrapolated. */
export function layersOf(value: unknown, shape: ShapeName): number {
  const { num_hidden_layers: all, first_k_dense_replace: dense } = shapes[shape];
  return value === undefined ? all : integerOf("layers", value, dense + 1, all);
}

export function formatOf(value: unknown): CheckpointFormat {
  return oneOf("format", value, checkpointFormats);
}
