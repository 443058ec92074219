import { PAGE_TOKENS } from "../../kernels/index.ts";
import { contextLimit } from "../checkpoint/index.ts";
import type { Model } from "./model.ts";
import type { KvPool } from "./step.ts";

/** One sequence driven through a model without an engine: for comparing implementations. */
export class SingleSequence {
  readonly #model: Model;
  readonly #pool: KvPool;
  readonly #table: Int32Array;
  #length = 0;

  /** @throws RangeError where the model's context is shorter */
  constructor(model: Model, maxTokens: number) {
    if (maxTokens > model.config.maxPositions) {
      throw new RangeError(`${maxTokens} tokens are more than ${contextLimit(model.config)}`);
    }
    const pages = Math.ceil(maxTokens / PAGE_TOKENS);
    this.#model = model;
    this.#pool = model.createKvPool(pages);
    this.#table = Int32Array.from({ length: pages }, (_, i) => pages - 1 - i);
  }

  /** Logits of every given token, [tokens, vocabulary]. */
  async append(tokens: readonly number[]): Promise<Float32Array> {
    const rows = tokens.length;
    const start = this.#length;
    this.#length += rows;
    const logits = await this.#model.forward(
      {
        rows,
        tokens: Int32Array.from(tokens),
        positions: Int32Array.from({ length: rows }, (_, i) => start + i),
        rowStarts: Int32Array.of(0, rows),
        pageTables: this.#table,
        tableStride: this.#table.length,
        logitRows: Int32Array.from({ length: rows }, (_, i) => i),
      },
      this.#pool,
    );
    return logits.slice();
  }
}

/** Index of the largest value; the lower index of equals. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
