import type { GateRule, Stream } from "../../kernels/index.ts";
import type { ExpertBatch, ExpertFlight, RoutedExperts } from "../../model/index.ts";

/** Routed experts that tell, when asked, how many rows have chosen each. */
export class CountedExperts implements RoutedExperts {
  readonly #stream: Stream;
  readonly #experts: RoutedExperts;
  readonly #rule: GateRule;
  /** Rows by (layer of the model, expert); undefined while nobody counts. */
  #chosen: Uint32Array | undefined;

  constructor(stream: Stream, experts: RoutedExperts, rule: GateRule) {
    this.#stream = stream;
    this.#experts = experts;
    this.#rule = rule;
  }

  async dispatch(batch: ExpertBatch): Promise<ExpertFlight> {
    if (this.#chosen) {
      // Ids lie in the stream's buffers until the next layer: a step that is counted is not timed.
      await this.#stream.fence();
      const pairs = batch.rows * this.#rule.topK;
      for (let i = 0; i < pairs; i++)
        this.#chosen[batch.layer * this.#rule.experts + batch.ids[i]]++;
    }
    return this.#experts.dispatch(batch);
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
