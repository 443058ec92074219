import { channels, type Transport } from "../cluster/index.ts";
import type { Span, Tracer } from "../trace/index.ts";
import { addTo, type Kept, meanSquare, type MlpStage, type OutputGradients } from "./mlp-stage.ts";
import { type Pipeline, rankOf, stagesOf } from "./pipeline.ts";
import { scheduleOf, type Step, type Task, type TaskKind } from "./schedule.ts";
import {
  createStage,
  inputOf,
  labelOf,
  type Loss,
  type StageGradients,
  type Training,
} from "./training.ts";

/** What a rank has when its steps are done. */
export interface RankOutcome {
  readonly rank: number;
  readonly gradients: readonly StageGradients[];
  readonly losses: readonly Loss[];
  /** The most micro-batches that were kept for their backward at a time. */
  readonly activations: number;
}

/** A micro-batch at a stage, from its forward to the end of its backward. */
interface Live {
  readonly kept: Kept;
  /** Of the loss, at the last stage. */
  readonly lossGradient?: Float32Array;
  /** Left by I for W. */
  gradients?: OutputGradients;
}

/** Takes one rank's steps in the schedule's order. */
export class PipelineRank {
  readonly #pipeline: Pipeline;
  readonly #training: Training;
  readonly #transport: Transport;
  readonly #tracer: Tracer;
  /** By number, which on a rank tells the direction, too. */
  readonly #stages: ReadonlyMap<number, MlpStage>;
  readonly #live = new Map<string, Live>();
  readonly #losses: Loss[] = [];
  #mostLive = 0;

  constructor(pipeline: Pipeline, training: Training, transport: Transport, tracer: Tracer) {
    this.#pipeline = pipeline;
    this.#training = training;
    this.#transport = transport;
    this.#tracer = tracer;
    this.#stages = new Map(
      stagesOf(pipeline, transport.rank).map(({ stage }) => [stage, createStage(training, stage)]),
    );
  }

  async train(): Promise<RankOutcome> {
    const { rank } = this.#transport;
    for (const [i, tasks] of scheduleOf(this.#pipeline)[rank].entries()) {
      const span = this.#tracer.beginStep(i, this.#training.rows * tasks.length);
      await this.#take(tasks);
      this.#tracer.end(span);
    }
    if (this.#pipeline.directions === 2) await this.#addMirrored();
    const gradients = [...this.#stages].map(([stage, own]) => ({ stage, ...own.gradients }));
    return { rank, gradients, losses: this.#losses, activations: this.#mostLive };
  }

  async #take(tasks: Step): Promise<void> {
    const received = await this.#receiveAll(tasks);
    // What the first of a pair sends travels while the second computes.
    const sending = tasks.map(async (task, i) => {
      const span = this.#begin(task.kind, task);
      const result = this.#compute(task, received[i]);
      this.#tracer.end(span);
      if (result) await this.#send(task, result);
    });
    await Promise.all(sending);
  }

  #compute(task: Task, received: Float32Array | undefined): Float32Array | undefined {
    if (task.kind === "F") return this.#forward(task, received ?? inputOf(this.#training, task));
    if (task.kind === "W") return this.#backwardWeights(task);
    return this.#backward(task, received);
  }

  #forward(task: Task, input: Float32Array): Float32Array {
    const { output, kept } = this.#stageOf(task).forward(input);
    if (task.stage < this.#pipeline.stages - 1) this.#live.set(nameOf(task), { kept });
    else {
      const { loss, gradient } = meanSquare(output, labelOf(this.#training, task));
      const { direction, microBatch } = task;
      this.#losses.push({ direction, microBatch, loss });
      this.#live.set(nameOf(task), { kept, lossGradient: gradient });
    }
    this.#mostLive = Math.max(this.#mostLive, this.#live.size);
    return output;
  }

  #backward(task: Task, received: Float32Array | undefined): Float32Array {
    const live = this.#liveOf(task);
    const outputGradient = received ?? live.lossGradient;
    if (!outputGradient) throw new Error(`no gradient for ${nameOf(task)}`);
    const { inputGradient, gradients } = this.#stageOf(task).backwardInputs(
      live.kept,
      outputGradient,
    );
    live.gradients = gradients;
    if (task.kind === "B") this.#backwardWeights(task);
    return inputGradient;
  }

  #backwardWeights(task: Task): undefined {
    const { kept, gradients } = this.#liveOf(task);
    if (!gradients) throw new Error(`W before I of ${nameOf(task)}`);
    this.#stageOf(task).backwardWeights(kept, gradients);
    this.#live.delete(nameOf(task));
  }

  /** The rank with the mirrored copies of this rank's stages does the same: two values have one sum. */
  async #addMirrored(): Promise<void> {
    const other = this.#pipeline.ranks - 1 - this.#transport.rank;
    const channel = channels.weightGradients;
    for (const { gradients } of this.#stages.values()) {
      for (const values of [gradients.up, gradients.down]) {
        const [received] = await Promise.all([
          this.#transport.receive(other, channel),
          this.#transport.send(other, channel, bytesOf(values)),
        ]);
        addTo(values, floatsOf(received));
      }
    }
  }

  async #receiveAll(tasks: Step): Promise<(Float32Array | undefined)[]> {
    if (!tasks.some((task) => this.#neighbour(task, -1))) return tasks.map(() => undefined);
    const span = this.#begin("PP", tasks[0]);
    const received = await Promise.all(tasks.map((task) => this.#receive(task)));
    this.#tracer.end(span);
    return received;
  }

  /** What the stage before, or after, has computed; undefined where there is none. */
  async #receive(task: Task): Promise<Float32Array | undefined> {
    const from = this.#neighbour(task, -1);
    if (!from) return undefined;
    return floatsOf(await this.#transport.receive(from.rank, from.channel));
  }

  async #send(task: Task, values: Float32Array): Promise<void> {
    const to = this.#neighbour(task, 1);
    if (to) await this.#transport.send(to.rank, to.channel, bytesOf(values));
  }

  /** Where a task's results go (1) or its operands come from (−1): forwards ascend, backwards descend. */
  #neighbour({ kind, direction, stage }: Task, way: 1 | -1) {
    const next = kind === "F" ? stage + way : stage - way;
    if (kind === "W" || next < 0 || next >= this.#pipeline.stages) return undefined;
    return {
      rank: rankOf(this.#pipeline, { direction, stage: next }),
      channel: kind === "F" ? channels.activations : channels.inputGradients,
    };
  }

  #begin(name: TaskKind | "PP", { stage, microBatch }: Task): Span {
    return this.#tracer.begin(name, stage, this.#training.rows, microBatch);
  }

  #stageOf({ stage }: Task): MlpStage {
    const own = this.#stages.get(stage);
    if (!own) throw new Error(`stage ${stage} is not on rank ${this.#transport.rank}`);
    return own;
  }

  #liveOf(task: Task): Live {
    const live = this.#live.get(nameOf(task));
    if (!live) throw new Error(`no forward of ${nameOf(task)}`);
    return live;
  }
}

const nameOf = ({ stage, microBatch }: Task) => `micro-batch ${microBatch} at stage ${stage}`;

const bytesOf = (values: Float32Array) =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** A copy, since floats lie where four divides. */
const floatsOf = (bytes: Uint8Array) => new Float32Array(new Uint8Array(bytes).buffer);
