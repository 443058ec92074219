import { type Pipeline, type Stage, stagesOf } from "./pipeline.ts";

/** Forward, whole backward, and the backward's halves: for inputs and for weights. */
export type TaskKind = "F" | "B" | "I" | "W";

export interface Task extends Stage {
  readonly kind: TaskKind;
  /** Its number in its direction. */
  readonly microBatch: number;
}

/** What a rank does at a time: one task, or the F and the B of an overlapped pair. */
export type Step = readonly Task[];

/** What each rank does, in order. */
export type Schedule = readonly (readonly Step[])[];

export function scheduleOf(pipeline: Pipeline): Schedule {
  return Array.from({ length: pipeline.ranks }, (_, rank) => stepsOf(pipeline, rank));
}

/**
 * The order that DeepSeek published, for one rank. What it depends on is how far the rank is from
 * the middle, where micro-batches turn round (DualPipeV) or both directions meet.
 */
function stepsOf(pipeline: Pipeline, rank: number): Step[] {
  const { stages, microBatches } = pipeline;
  const stagesHeld = stagesOf(pipeline, rank);
  const toEnd = stagesHeld[0].stage + 1;
  const toMiddle = stages / 2 - toEnd;
  const order = new Order(stagesHeld);
  order.repeat(2 * toMiddle, () => order.add(order.forward(0)));
  order.repeat(toEnd, () => order.add(order.forward(0)).add(order.forward(1)));
  order.repeat(toMiddle, () =>
    order.add(order.inputs(1)).add(order.weights()).add(order.forward(1)),
  );
  order.repeat(microBatches - stages + toEnd, (i) => {
    // As published, the first pair of the ranks in the middle is not overlapped.
    if (i === 0 && toMiddle === 0) order.add(order.forward(0)).add(order.backward(1));
    else order.add(order.forward(0), order.backward(1));
    order.add(order.forward(1), order.backward(0));
  });
  order.repeat(toMiddle, () =>
    order.add(order.backward(1)).add(order.forward(1), order.backward(0)),
  );
  // From here on backwards leave their weights for later, where others wait for the inputs.
  order.repeat(2 * toEnd, (i) => {
    const held = i % 2 === 0 ? 1 : 0;
    order.add(i < toEnd ? order.backward(held) : order.inputs(held));
  });
  order.repeat(toMiddle, () => order.add(order.weights()).add(order.inputs(0)));
  order.repeat(toEnd, () => order.add(order.weights()));
  return order.steps;
}

/** A rank's steps as they are put down; micro-batches of a stage come in ascending order. */
class Order {
  readonly steps: Step[] = [];
  readonly #stages: readonly Stage[];
  readonly #forwards = [0, 0];
  readonly #backwards = [0, 0];
  /** Tasks I whose W is to follow, oldest first. */
  readonly #withoutWeights: Task[] = [];

  constructor(stages: readonly [Stage, Stage]) {
    this.#stages = stages;
  }

  add(...step: Task[]): this {
    this.steps.push(step);
    return this;
  }

  repeat(times: number, round: (i: number) => void): void {
    for (let i = 0; i < times; i++) round(i);
  }

  /** The next F of the first (0) or the second (1) stage that the rank holds. */
  forward(held: 0 | 1): Task {
    return { kind: "F", ...this.#stages[held], microBatch: this.#forwards[held]++ };
  }

  backward(held: 0 | 1): Task {
    return { kind: "B", ...this.#stages[held], microBatch: this.#backwards[held]++ };
  }

  inputs(held: 0 | 1): Task {
    const task: Task = { ...this.backward(held), kind: "I" };
    this.#withoutWeights.push(task);
    return task;
  }

  weights(): Task {
    const [task] = this.#withoutWeights.splice(0, 1);
    return { ...task, kind: "W" };
  }
}
