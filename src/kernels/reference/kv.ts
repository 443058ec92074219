import { rmsNormRow } from "./norm.ts";
import { storeRows } from "../quantize.ts";
import { rotate } from "./rope.ts";
import { PAGE_TOKENS, type KvLayer, type MlaShape, type Rope, type StepLayout } from "../stream.ts";

/** The sequence of each row. */
function* rowsOf(layout: StepLayout): Generator<{ row: number; table: number }> {
  for (let s = 0; s + 1 < layout.rowStarts.length; s++) {
    for (let row = layout.rowStarts[s]; row < layout.rowStarts[s + 1]; row++) {
      yield { row, table: s * layout.tableStride };
    }
  }
}

/** The entry in the pool that holds an absolute position of a sequence. */
export function entryOf(layout: StepLayout, table: number, position: number): number {
  const page = layout.pageTables[table + Math.floor(position / PAGE_TOKENS)];
  return page * PAGE_TOKENS + (position % PAGE_TOKENS);
}

/** Normalises the latent of each row, rotates its key and stores both where the row's page lies. */
export function writeKv(
  cache: KvLayer,
  x: Float32Array,
  gain: Float32Array,
  epsilon: number,
  shape: MlaShape,
  rope: Rope,
  layout: StepLayout,
): void {
  const width = shape.latent + shape.rope;
  const entry = new Float32Array(width);
  for (const { row, table } of rowsOf(layout)) {
    const position = layout.positions[row];
    entry.set(x.subarray(row * width, (row + 1) * width));
    rmsNormRow(entry, 0, entry, 0, gain, epsilon);
    rotate(entry, shape.latent, position, rope);
    const at = entryOf(layout, table, position) * width;
    storeRows(cache.entries.subarray(at, at + width), entry, width);
  }
}
