import { inputs, integers } from "./guarded-memory.ts";
import { gaussian, randomSource } from "./random.ts";
import type { GeneratorSetting } from "./weight-maker.ts";
import type { StoredRows } from "../operand-format.ts";
import { precisions, type Policy } from "../policy.ts";
import { createStoredRows, storeRows } from "../quantize.ts";
import { PAGE_TOKENS, type MlaShape, type Rope, type StepLayout } from "../stream.ts";
import type { WeightDtype } from "../weight-format.ts";

export interface MlaSizes {
  readonly shape: MlaShape;
  readonly dtype: WeightDtype;
  /** Rows of each sequence, its last ones; a sequence may have none. */
  readonly sequences: readonly { readonly context: number; readonly rows: number }[];
}

/** Sequences in scattered pages: entries nobody wrote are NaN, table slots nobody uses garbage. */
function scatteredPages(sequences: MlaSizes["sequences"]) {
  const tableStride = Math.max(...sequences.map(({ context }) => pagesOf(context))) + 2;
  const pageTables = integers(sequences.length * tableStride);
  const positions: number[] = [];
  const rowStarts = [0];
  let pages = 1;
  for (const [s, { context, rows }] of sequences.entries()) {
    // Pages of a sequence descend, with a gap between sequences.
    for (let i = 0; i < pagesOf(context); i++) {
      pageTables[s * tableStride + i] = pages + pagesOf(context) - 1 - i;
    }
    pages += pagesOf(context) + 1;
    for (let i = context - rows; i < context; i++) positions.push(i);
    rowStarts.push(positions.length);
  }
  return { tableStride, pageTables, positions: Int32Array.from(positions), rowStarts, pages };
}

const pagesOf = (context: number) => Math.ceil(context / PAGE_TOKENS);

/** A step's random weights, queries and cache. */
export function mlaInputs(
  { folder, policy, seed }: GeneratorSetting,
  { shape, dtype, sequences }: MlaSizes,
) {
  const random = randomSource(seed);
  const { heads, nope, rope: rotated, value, latent } = shape;
  const { positions, rowStarts, pages, ...tables } = scatteredPages(sequences);
  const rows = positions.length;
  const width = latent + rotated;
  const queryWidth = heads * (nope + rotated);
  const kvB = folder.create(random, dtype, [heads * (nope + value), latent]).weight;
  const gain = folder.create(random, "BF16", [latent]).weight;
  const q = inputs(gaussian(random, rows * queryWidth));
  const absorbed = inputs(gaussian(random, rows * heads * latent));
  const x = inputs(gaussian(random, rows * width));
  const rope: Rope = {
    frequencies: Float32Array.from(
      { length: rotated / 2 },
      (_, i) => 10000 ** (-2 * (i / rotated)),
    ),
    amplitude: 1.1,
    interleaved: seed % 2 === 0,
  };
  const entries = filledEntries(policy, random, { ...tables, sequences, pages, width });
  const layoutOf = (from: number, to: number): StepLayout => ({
    ...tables,
    rows: to - from,
    positions: positions.subarray(from, to),
    rowStarts: Int32Array.from(rowStarts, (start) => Math.min(Math.max(start, from), to) - from),
  });
  return { rows, pages, kvB, gain, q, absorbed, x, rope, entries, layoutOf };
}

/** A pool with the sequences' entries, and NaN everywhere else. */
function filledEntries(
  policy: Policy,
  random: () => number,
  pool: {
    readonly sequences: MlaSizes["sequences"];
    readonly pageTables: Int32Array;
    readonly tableStride: number;
    readonly pages: number;
    readonly width: number;
  },
): StoredRows {
  const { sequences, pageTables, tableStride, pages, width } = pool;
  const entries = createStoredRows(precisions[policy].kv, pages * PAGE_TOKENS * width);
  entries.fill(entries instanceof Float32Array ? NaN : 0x7fc0);
  for (const [s, { context }] of sequences.entries()) {
    for (let t = 0; t < context; t++) {
      const page = pageTables[s * tableStride + Math.floor(t / PAGE_TOKENS)];
      const at = (page * PAGE_TOKENS + (t % PAGE_TOKENS)) * width;
      storeRows(entries.subarray(at, at + width), gaussian(random, width), width);
    }
  }
  return entries;
}
