export const methods = ["DualPipe", "DualPipeV"] as const;

/**
 * DualPipe feeds micro-batches from both ends of its ranks, half of them in each direction, through
 * two mirrored copies of the model: direction 0 meets stage r on rank r, direction 1 its mirror.
 * DualPipeV is one half of it: half the ranks, one copy, one direction, which goes down the ranks
 * and comes back.
 */
export type Method = (typeof methods)[number];

export interface Pipeline {
  readonly method: Method;
  /** Parts of the model, one after the other; every rank holds two. */
  readonly stages: number;
  readonly ranks: number;
  readonly directions: 1 | 2;
  /** In each direction. */
  readonly microBatches: number;
}

/** A stage of the copy of the model that serves one direction. */
export interface Stage {
  readonly direction: number;
  readonly stage: number;
}

/** @throws RangeError for sizes that the method has no schedule for */
export function createPipeline(method: Method, stages: number, microBatches: number): Pipeline {
  if (!Number.isInteger(stages) || stages < 2 || stages % 2 !== 0) {
    throw new RangeError(`stages: ${method} needs an even number from 2 on, got ${stages}`);
  }
  const ranks = method === "DualPipe" ? stages : stages / 2;
  const directions = method === "DualPipe" ? 2 : 1;
  if (!Number.isInteger(microBatches / directions) || microBatches < 2 * ranks) {
    const number = directions === 2 ? "an even number" : "a whole number";
    throw new RangeError(
      `micro-batches: ${method} with ${stages} stages on ${ranks} ranks needs ${number} ` +
        `from ${2 * ranks} on, twice its ranks, got ${microBatches}`,
    );
  }
  return { method, stages, ranks, directions, microBatches: microBatches / directions };
}

export function rankOf({ method, stages }: Pipeline, { direction, stage }: Stage): number {
  const mirrored = stages - 1 - stage;
  if (method === "DualPipeV") return Math.min(stage, mirrored);
  return direction === 0 ? stage : mirrored;
}

/** The two stages that a rank holds: first the one that comes sooner on a micro-batch's way. */
export function stagesOf({ stages, directions }: Pipeline, rank: number): [Stage, Stage] {
  const first = Math.min(rank, stages - 1 - rank);
  const isMirror = rank >= stages / 2;
  return [
    { direction: isMirror ? 1 : 0, stage: first },
    { direction: isMirror || directions === 1 ? 0 : 1, stage: stages - 1 - first },
  ];
}
