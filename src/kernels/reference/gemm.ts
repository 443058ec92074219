import { multiplyIntegers } from "./integer-product.ts";
import type { StoredRows } from "../operand-format.ts";
import type { DecodedRows, MatrixTarget } from "./product.ts";
import { storeRows } from "../quantize.ts";
import { SCALE_BLOCK } from "../weight-format.ts";
import type { LoadedWeight, WeightPiece } from "../weight-reader.ts";

/** Weight rows computed together, to read each input value once for all of them. */
const PANEL_ROWS = 8;

/**
 * out[m, n] = x[m] · weight[firstRow + n] for `outputs` weight rows: DeepGEMM's promotion. A
 * block's inputs are summed on their own, multiplied by the block's scales, and added to a float32
 * accumulator in ascending order, whatever the number of rows. Inside a block the reference sums
 * in float64, against which a kernel's float32 sum is measured.
 */
export function multiply(
  out: MatrixTarget,
  x: DecodedRows,
  rows: number,
  weight: LoadedWeight,
  firstRow = 0,
  outputs = weight.rows,
): void {
  if (x.format === "int8") return multiplyIntegers(out, x, rows, weight, firstRow, outputs);
  const accumulators = new Float32Array(PANEL_ROWS);
  const sums = new Float32Array(PANEL_ROWS);
  for (let n = 0; n < outputs;) {
    const row = firstRow + n;
    const piece = weight.pieceOf(row);
    const panelRows = Math.min(PANEL_ROWS, outputs - n, piece.firstRow + piece.rows - row);
    for (let m = 0; m < rows; m++) {
      multiplyPanel(accumulators, sums, x, m, weight, piece, row, panelRows);
      const target = out.from + m * out.stride + n;
      for (let i = 0; i < panelRows; i++) out.values[target + i] = accumulators[i];
    }
    n += panelRows;
  }
}

/** Row m of x times `panelRows` weight rows; a short panel computes its last row again. */
function multiplyPanel(
  accumulators: Float32Array,
  sums: Float32Array,
  x: DecodedRows,
  m: number,
  weight: LoadedWeight,
  piece: WeightPiece,
  row: number,
  panelRows: number,
): void {
  const { columns, scaleColumns, blockColumns } = weight;
  const { values, scales, scalesFrom = 0, rowBlocks = 0 } = x;
  const panel = piece.values;
  const offset = x.from + m * x.stride;
  const first = row - piece.firstRow;
  const last = panelRows - 1;
  const row0 = first * columns;
  const row1 = (first + Math.min(1, last)) * columns;
  const row2 = (first + Math.min(2, last)) * columns;
  const row3 = (first + Math.min(3, last)) * columns;
  const row4 = (first + Math.min(4, last)) * columns;
  const row5 = (first + Math.min(5, last)) * columns;
  const row6 = (first + Math.min(6, last)) * columns;
  const row7 = (first + Math.min(7, last)) * columns;
  accumulators.fill(0);
  for (let block = 0; block < scaleColumns; block++) {
    const start = block * blockColumns;
    const end = Math.min(start + blockColumns, columns);
    let sum0 = 0;
    let sum1 = 0;
    let sum2 = 0;
    let sum3 = 0;
    let sum4 = 0;
    let sum5 = 0;
    let sum6 = 0;
    let sum7 = 0;
    for (let k = start; k < end; k++) {
      const value = values[offset + k];
      sum0 += value * panel[row0 + k];
      sum1 += value * panel[row1 + k];
      sum2 += value * panel[row2 + k];
      sum3 += value * panel[row3 + k];
      sum4 += value * panel[row4 + k];
      sum5 += value * panel[row5 + k];
      sum6 += value * panel[row6 + k];
      sum7 += value * panel[row7 + k];
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
    sums[4] = sum4;
    sums[5] = sum5;
    sums[6] = sum6;
    sums[7] = sum7;
    const rowBlock = Math.floor(start / SCALE_BLOCK);
    const rowScale = scales ? scales[scalesFrom + m * rowBlocks + rowBlock] : 1;
    for (let i = 0; i < panelRows; i++) {
      const scale = Math.fround(rowScale * weight.scale(row + i, block));
      accumulators[i] += Math.fround(sums[i]) * scale;
    }
  }
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
      { ...x, from: x.from + start * x.stride, scalesFrom: start * (x.rowBlocks ?? 0) },
      rows,
      weight,
    );
    storeRows(out.subarray(start * outputs), values, rows * outputs);
  }
}
