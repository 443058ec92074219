import { createStoredRows, PAGE_TOKENS } from "../../kernels/index.ts";
import { sampleRows } from "../../kernels/sampling/choose.ts";
import { StepSampling } from "../../kernels/sampling/sample.ts";
import type { KvPool, ModelConfig, StepBatch } from "../../model/index.ts";
import { nullTracer } from "../../trace/index.ts";
import type { StepComputer } from "../rank/core-options.ts";

/** Resolves when a step may be computed; a rejection is a step that fails. */
export type TakeTime = (batch: StepBatch) => Promise<void>;

/** A model whose steps take a virtual clock's time. */
export const inVirtualTime = (model: StepComputer, takeTime: TakeTime): StepComputer => ({
  ...{ config: model.config, maxRows: model.maxRows, tracer: model.tracer },
  createKvPool: (pages) => model.createKvPool(pages),
  async choose(batch, pool, options) {
    await takeTime(batch);
    return model.choose(batch, pool, options);
  },
});

/** What one call of a hash leaves of another: 24 bits, which a float32 holds exactly. */
const mix = (hash: number, value: number) =>
  Math.imul(Math.imul(hash ^ value, 0x9e3779b1) ^ (hash >>> 9), 0x85ebca6b) >>> 8;

/**
 * A model in a few lines whose token depends on every entry of KV of its context, and each entry on the
 * one before: an entry that is lost, stale or somebody else's changes the answer. Tokens repeat enough
 * to be guessed. They are chosen as any model's are.
 */
export function contextModel(config: ModelConfig, maxRows: number): StepComputer {
  const { layers, vocabSize } = config;
  return {
    ...{ config, maxRows, tracer: nullTracer },
    createKvPool: (pages) => ({
      width: 1,
      layers: Array.from({ length: layers }, () => ({
        entries: createStoredRows("f32", pages * PAGE_TOKENS),
      })),
    }),
    async choose(batch, pool, { choices: asked, usableTokens, onLayer }) {
      for (let layer = 0; layer < layers; layer++) {
        writeLayer(batch, pool, layer);
        onLayer?.(layer);
      }
      const logits = new Float32Array(batch.logitRows.length * vocabSize);
      for (const [i, row] of batch.logitRows.entries()) {
        writeLogits(logits.subarray(i * vocabSize, (i + 1) * vocabSize), batch, pool, row);
      }
      const choices = typeof asked === "function" ? await asked() : asked;
      const sampling = new StepSampling(choices, usableTokens);
      sampling.enqueue({ sample: sampleRows }, logits, vocabSize);
      return (row) => sampling.chosen(row);
    },
  };
}

/** Where a sequence's entries lie. */
function placesOf(batch: StepBatch, row: number): (position: number) => number {
  const sequence = batch.rowStarts.findLastIndex((start) => start <= row);
  const first = sequence * batch.tableStride;
  return (position) => {
    const page = batch.pageTables[first + Math.floor(position / PAGE_TOKENS)];
    return page * PAGE_TOKENS + (position % PAGE_TOKENS);
  };
}

function writeLayer(batch: StepBatch, pool: KvPool, layer: number): void {
  const { entries } = pool.layers[layer];
  for (let row = 0; row < batch.rows; row++) {
    const position = batch.positions[row];
    const place = placesOf(batch, row);
    const before = position === 0 ? layer : entries[place(position - 1)];
    entries[place(position)] = mix(before, batch.tokens[row]);
  }
}

function writeLogits(out: Float32Array, batch: StepBatch, pool: KvPool, row: number): void {
  const place = placesOf(batch, row);
  let hash = 0;
  for (const { entries } of pool.layers) {
    for (let position = 0; position <= batch.positions[row]; position++) {
      hash = mix(hash, entries[place(position)]);
    }
  }
  for (let token = 0; token < out.length; token++) out[token] = mix(hash, token) / 2 ** 23;
  // Most tokens have a usual follower.
  if (hash % 4 > 0) out[(batch.tokens[row] * 5 + 1) % out.length] += 2;
}
