import { passLayers, type Order, type Stages } from "../../model/index.ts";

/** Milliseconds of a layer's stages for all rows of a rank. */
export interface LayerTimes {
  /** Up to the rows' own KV, and the rest of attention with the gate. */
  readonly project: number;
  readonly attend: number;
  readonly shared: number;
  readonly experts: number;
  /** Adding up what has come home. */
  readonly reduce: number;
  /** On the wire, each way. */
  readonly dispatch: number;
  readonly combine: number;
}

export interface StepWindows {
  readonly milliseconds: number;
  /** Of those, how long nothing could be computed. */
  readonly waited: number;
}

/**
 * What a step takes whose ranks all have the same times, if nothing held it up but what its order has wait for
 * each other: computation one after the other, and rows on a wire of which each rank has one each way.
 *
 * @param pieces of a layer's experts, each of which sets out for home when it is computed
 */
export async function stepWindows(
  order: Order,
  layers: readonly LayerTimes[],
  pieces = 1,
): Promise<StepWindows> {
  const rank = new ModelledRank();
  const batch = (share: number) => new ModelledBatch(rank, share, pieces);
  const batches = order === "whole" ? { b: batch(1) } : { b: batch(1 / 2), a: batch(1 / 2) };
  await passLayers(layers, batches, order);
  return { milliseconds: rank.now, waited: rank.waited };
}

/** One rank's time, and when its wire is free. */
class ModelledRank {
  now = 0;
  waited = 0;
  #wireFree = 0;

  compute(milliseconds: number): void {
    this.now += milliseconds;
  }

  /** When what is sent now has arrived. */
  send(milliseconds: number): number {
    this.#wireFree = Math.max(this.now, this.#wireFree) + milliseconds;
    return this.#wireFree;
  }

  awaitUntil(time: number): void {
    const wait = Math.max(0, time - this.now);
    this.waited += wait;
    this.now += wait;
  }
}

class ModelledBatch implements Stages<LayerTimes> {
  readonly #rank: ModelledRank;
  readonly #share: number;
  readonly #pieces: number;
  #arrives = 0;
  #open: LayerTimes | undefined;

  constructor(rank: ModelledRank, share: number, pieces: number) {
    this.#rank = rank;
    this.#share = share;
    this.#pieces = pieces;
  }

  async attention(layer: LayerTimes): Promise<void> {
    await this.project(layer);
    await this.attend(layer);
  }

  async project({ project }: LayerTimes): Promise<void> {
    await this.finish();
    this.#rank.compute(this.#share * project);
  }

  async attend({ attend, dispatch }: LayerTimes): Promise<void> {
    this.#rank.compute(this.#share * attend);
    this.#arrives = this.#rank.send(this.#share * dispatch);
  }

  async shared({ shared }: LayerTimes): Promise<void> {
    this.#rank.compute(this.#share * shared);
  }

  async experts(layer: LayerTimes): Promise<void> {
    this.#rank.awaitUntil(this.#arrives);
    const share = this.#share / this.#pieces;
    for (let piece = 0; piece < this.#pieces; piece++) {
      this.#rank.compute(share * layer.experts);
      this.#arrives = this.#rank.send(share * layer.combine);
    }
    this.#open = layer;
  }

  async finish(): Promise<void> {
    if (!this.#open) return;
    this.#rank.awaitUntil(this.#arrives);
    this.#rank.compute(this.#share * this.#open.reduce);
    this.#open = undefined;
  }
}
