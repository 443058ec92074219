import { gaussian, randomSource } from "../kernels/index.ts";
import { addTo, meanSquare, MlpStage, type MlpWeights } from "./mlp-stage.ts";
import type { Pipeline } from "./pipeline.ts";

/** Random weights and data that every rank can make for itself. */
export interface Training {
  readonly hidden: number;
  /** Of a micro-batch. */
  readonly rows: number;
  readonly seed: number;
}

/** Gradients of a stage's weights over all micro-batches, of both directions. */
export interface StageGradients extends MlpWeights {
  readonly stage: number;
}

/** Of the last stage's outputs for a micro-batch. */
export interface Loss {
  readonly direction: number;
  readonly microBatch: number;
  readonly loss: number;
}

/** Values that a purpose and its numbers name. */
function valuesOf({ seed }: Training, purpose: number, number: number, count: number, spread = 1) {
  return gaussian(randomSource(seed + 1e6 * purpose + number), count, spread);
}

export function createStage(training: Training, stage: number): MlpStage {
  const { hidden } = training;
  const count = 4 * hidden * hidden;
  const up = valuesOf(training, 0, stage, count, hidden ** -0.5);
  const down = valuesOf(training, 1, stage, count, (4 * hidden) ** -0.5);
  return new MlpStage({ up, down }, hidden);
}

function createModel(training: Training, stages: number): MlpStage[] {
  return Array.from({ length: stages }, (_, stage) => createStage(training, stage));
}

type Batch = { readonly direction: number; readonly microBatch: number };

const batchNumber = ({ direction, microBatch }: Batch) => 2 * microBatch + direction;

export function inputOf(training: Training, batch: Batch): Float32Array {
  return valuesOf(training, 2, batchNumber(batch), training.rows * training.hidden);
}

export function labelOf(training: Training, batch: Batch): Float32Array {
  return valuesOf(training, 3, batchNumber(batch), training.rows * training.hidden);
}

/**
 * The whole training on one rank: each direction through a copy of the model, micro-batch after
 * micro-batch, then the copies' gradients added.
 */
export function trainAlone(
  pipeline: Pipeline,
  training: Training,
): { readonly gradients: StageGradients[]; readonly losses: Loss[] } {
  const losses: Loss[] = [];
  const copies = Array.from({ length: pipeline.directions }, (_, direction) => {
    const stages = createModel(training, pipeline.stages);
    for (let microBatch = 0; microBatch < pipeline.microBatches; microBatch++) {
      const batch = { direction, microBatch };
      losses.push({ ...batch, loss: trainOn(stages, training, batch) });
    }
    return stages;
  });
  const [first, second] = copies;
  const gradients = first.map(({ gradients: { up, down } }, stage) => {
    if (second) {
      addTo(up, second[stage].gradients.up);
      addTo(down, second[stage].gradients.down);
    }
    return { stage, up, down };
  });
  return { gradients, losses };
}

function trainOn(stages: readonly MlpStage[], training: Training, batch: Batch): number {
  let rows: Float32Array = inputOf(training, batch);
  const kept = stages.map((stage) => {
    const forward = stage.forward(rows);
    rows = forward.output;
    return forward.kept;
  });
  const { loss, gradient } = meanSquare(rows, labelOf(training, batch));
  let next: Float32Array = gradient;
  for (let i = stages.length - 1; i >= 0; i--) {
    const stage = stages[i];
    const { inputGradient, gradients } = stage.backwardInputs(kept[i], next);
    stage.backwardWeights(kept[i], gradients);
    next = inputGradient;
  }
  return loss;
}
