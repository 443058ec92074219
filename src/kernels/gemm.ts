import { storeRows } from "./quantize.ts";
import type { StoredRows } from "./stream.ts";
import { SCALE_BLOCK } from "./weight.ts";
import type { LoadedWeight } from "./weight-reader.ts";

/** Matmul rows decoded to float64, in which a product of two BF16 or FP8 values is exact. */
export interface DecodedRows {
  readonly values: Float64Array;
  /** First value of the first row, and the distance between rows. */
  readonly from: number;
  readonly stride: number;
  /** Of FP8 rows: scales [rows, ceil(columns / 128)] from `scalesFrom`. */
  readonly scales?: Float32Array;
  readonly scalesFrom?: number;
}

/** Where a matmul writes: output n of row m goes to `from + m · stride + n`. */
export interface MatrixTarget {
  readonly values: Float32Array;
  readonly from: number;
  readonly stride: number;
}

/** Weight rows computed together, to read each input value once for all of them. */
const PANEL_ROWS = 4;

/**
 * out[m, n] = x[m] · weight[firstRow + n] for `outputs` weight rows: DeepGEMM's promotion. Every
 * 128 inputs are summed on their own, multiplied by the block's scales, and added to a float32
 * accumulator in ascending order, whatever the number of rows. Inside a block the reference sums
 * in float64, which is what a kernel's float32 sum is measured against.
 */
export function multiply(
  out: MatrixTarget,
  x: DecodedRows,
  rows: number,
  weight: LoadedWeight,
  firstRow = 0,
  outputs = weight.rows,
): void {
  const { columns } = weight;
  const panel = new Float64Array(PANEL_ROWS * columns);
  const accumulators = new Float32Array(PANEL_ROWS);
  for (let n = 0; n < outputs; n += PANEL_ROWS) {
    const panelRows = Math.min(PANEL_ROWS, outputs - n);
    for (let i = 0; i < panelRows; i++) weight.decodeRow(firstRow + n + i, panel, i * columns);
    for (let m = 0; m < rows; m++) {
      multiplyPanel(accumulators, panel, x, m, weight, firstRow + n);
      const target = out.from + m * out.stride + n;
      for (let i = 0; i < panelRows; i++) out.values[target + i] = accumulators[i];
    }
  }
}

function multiplyPanel(
  accumulators: Float32Array,
  panel: Float64Array,
  x: DecodedRows,
  m: number,
  weight: LoadedWeight,
  row: number,
): void {
  const { columns, scaleColumns, scales } = weight;
  const { values } = x;
  const offset = x.from + m * x.stride;
  accumulators.fill(0);
  for (let block = 0; block < scaleColumns; block++) {
    const start = block * SCALE_BLOCK;
    const end = Math.min(start + SCALE_BLOCK, columns);
    let sum0 = 0;
    let sum1 = 0;
    let sum2 = 0;
    let sum3 = 0;
    for (let k = start; k < end; k++) {
      const value = values[offset + k];
      sum0 += value * panel[k];
      sum1 += value * panel[columns + k];
      sum2 += value * panel[2 * columns + k];
      sum3 += value * panel[3 * columns + k];
    }
    const rowScale = x.scales ? x.scales[(x.scalesFrom ?? 0) + m * scaleColumns + block] : 1;
    promote(accumulators, 0, sum0, rowScale, scales ? weight.scale(row, block) : 1);
    promote(accumulators, 1, sum1, rowScale, scales ? weight.scale(row + 1, block) : 1);
    promote(accumulators, 2, sum2, rowScale, scales ? weight.scale(row + 2, block) : 1);
    promote(accumulators, 3, sum3, rowScale, scales ? weight.scale(row + 3, block) : 1);
  }
}

/** accumulator += sum · (rowScale · weightScale), each step rounded to float32. */
function promote(
  accumulators: Float32Array,
  i: number,
  sum: number,
  rowScale: number,
  weightScale: number,
): void {
  const scaled = Math.fround(Math.fround(sum) * Math.fround(rowScale * weightScale));
  accumulators[i] = accumulators[i] + scaled;
}

/**
 * Row groups times their own weight (DeepGEMM's contiguous grouped GEMM): rows `starts[g]` up to
 * `starts[g + 1]` of x are multiplied by `weights(g)`; outputs are stored as `out` keeps them.
 */
export function multiplyGroups(
  out: StoredRows,
  x: DecodedRows,
  weights: (group: number) => LoadedWeight,
  starts: Int32Array,
  outputs: number,
): void {
  for (let group = 0; group + 1 < starts.length; group++) {
    const start = starts[group];
    const rows = starts[group + 1] - start;
    if (rows === 0) continue;
    const values = new Float32Array(rows * outputs);
    const weight = weights(group);
    multiply(
      { values, from: 0, stride: outputs },
      {
        ...x,
        from: x.from + start * x.stride,
        scalesFrom: start * weight.scaleColumns,
      },
      rows,
      weight,
    );
    storeRows(out.subarray(start * outputs), values, rows * outputs);
  }
}
