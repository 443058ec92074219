import { PieceAttention } from "./attention-piece.ts";
import { float32 } from "../float-formats.ts";
import { entryOf } from "./kv.ts";
import { formatOfRows } from "../quantize.ts";
import type { Round } from "./product.ts";
import { KV_PIECE_TOKENS, type KvLayer, type MlaShape, type StepLayout } from "../stream.ts";

/**
 * Absorbed multi-head latent attention, causal, over paged KV (FlashMLA's role): every row of
 * every head reads the same latent entries. The context is cut into pieces at fixed absolute
 * positions and the pieces are merged in order, so a row's bits depend on its context alone, not on
 * the chunk it arrived in. Only entries a row may see are read.
 */
export function attention(
  out: Float32Array,
  absorbed: Float32Array,
  q: Float32Array,
  cache: KvLayer,
  shape: MlaShape,
  layout: StepLayout,
  round: Round,
): void {
  const { heads, latent } = shape;
  const width = latent + shape.rope;
  const piece = new PieceAttention(shape, formatOfRows(cache.entries), round);
  for (let s = 0; s + 1 < layout.rowStarts.length; s++) {
    const firstRow = layout.rowStarts[s];
    const lastRow = layout.rowStarts[s + 1] - 1;
    if (lastRow < firstRow) continue;
    const merges = new Float32Array((lastRow - firstRow + 1) * heads * 2);
    const context = Math.max(...layout.positions.subarray(firstRow, lastRow + 1)) + 1;
    for (let start = 0; start < context; start += KV_PIECE_TOKENS) {
      const end = Math.min(start + KV_PIECE_TOKENS, context);
      for (let t = start; t < end; t++) {
        const at = entryOf(layout, s * layout.tableStride, t) * width;
        piece.load(t - start, cache.entries.subarray(at, at + width));
      }
      for (let row = firstRow; row <= lastRow; row++) {
        const visible = Math.min(end, layout.positions[row] + 1) - start;
        if (visible <= 0) continue;
        for (let head = 0; head < heads; head++) {
          piece.attend(absorbed, q, row * heads + head, visible);
          const merge = merges.subarray(((row - firstRow) * heads + head) * 2);
          piece.mergeInto(out, (row * heads + head) * latent, merge, start === 0);
        }
      }
    }
    for (let i = 0; i < merges.length / 2; i++) {
      const sum = merges[2 * i + 1];
      const at = (firstRow * heads + i) * latent;
      for (let c = 0; c < latent; c++) {
        out[at + c] = float32(out[at + c] / sum);
      }
    }
  }
}
