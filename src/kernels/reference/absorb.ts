import type { Round } from "./attention.ts";
import type { MlaShape } from "../stream.ts";
import type { LoadedWeight } from "../weight-reader.ts";

/**
 * out[row, head] = W_UK[head]ᵀ q_nope: the query moved into the latent space, so that attention
 * reads the cache as it lies. The sum runs over weight rows and is cut where a block of rows that
 * share scales ends, each part promoted with its block's scale.
 */
export function absorbQuery(
  out: Float32Array,
  q: Float32Array,
  kvB: LoadedWeight,
  shape: MlaShape,
  rows: number,
  round: Round,
): void {
  const { heads, nope, latent } = shape;
  const queryWidth = nope + shape.rope;
  const sums = new Float64Array(latent);
  out.fill(0, 0, rows * heads * latent);
  for (let head = 0; head < heads; head++) {
    const first = head * (nope + shape.value);
    for (let j = 0; j < nope;) {
      const weightRow = first + j;
      const count = Math.min(nope - j, kvB.blockRows - (weightRow % kvB.blockRows));
      const weightRows = Array.from({ length: count }, (_, i) => kvB.row(weightRow + i));
      for (let row = 0; row < rows; row++) {
        sums.fill(0);
        for (let i = 0; i < count; i++) {
          addScaled(sums, weightRows[i], round(q[(row * heads + head) * queryWidth + j + i]));
        }
        const target = (row * heads + head) * latent;
        for (let c = 0; c < latent; c++) {
          const columnBlock = Math.floor(c / kvB.blockColumns);
          out[target + c] += Math.fround(sums[c]) * kvB.scale(weightRow, columnBlock);
        }
      }
      j += count;
    }
  }
}

function addScaled(sums: Float64Array, row: Float32Array, factor: number): void {
  for (let c = 0; c < sums.length; c++) sums[c] += factor * row[c];
}
