import type { Stream } from "../../kernels/index.ts";
import type { ExpertCall, ExpertOutput, ExpertWeights, RoutedExperts } from "../../model/index.ts";

/** Routed experts that tell, when asked, how many rows have chosen each. */
export class CountedExperts implements RoutedExperts {
  readonly #stream: Stream;
  readonly #experts: RoutedExperts;
  readonly #topK: number;
  /** Rows by (layer of the model, expert); undefined while nobody counts. */
  #chosen: Uint32Array | undefined;

  constructor(stream: Stream, experts: RoutedExperts, topK: number) {
    this.#stream = stream;
    this.#experts = experts;
    this.#topK = topK;
  }

  async compute(call: ExpertCall, weights: ExpertWeights): Promise<ExpertOutput> {
    if (this.#chosen) {
      // Ids lie in the stream's buffers until the next layer: a step that is counted is not timed.
      await this.#stream.fence();
      const experts = weights.gate.length;
      const pairs = call.rows * this.#topK;
      for (let i = 0; i < pairs; i++) this.#chosen[call.layer * experts + call.ids[i]]++;
    }
    return this.#experts.compute(call, weights);
  }

  /** The rows that choose each while `run` runs. [layers, experts] */
  async count(size: number, run: () => Promise<unknown>): Promise<Uint32Array> {
    const chosen = new Uint32Array(size);
    this.#chosen = chosen;
    await run();
    this.#chosen = undefined;
    return chosen;
  }
}
