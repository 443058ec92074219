import { entryBytes, readEntries, type KvEntries } from "../../kv-cache/index.ts";
import type { KvPool } from "../../model/index.ts";

/** Bytes of KV in a message: a fraction of what a link lets be on its way. */
const PIECE_BYTES = 256 * 1024;

/** The next piece of a layer's positions from `first` to `end`, as a message has it. */
export function readPiece(
  kv: KvPool,
  pages: readonly number[],
  { layer, first, end }: { readonly layer: number; readonly first: number; readonly end: number },
): Omit<KvEntries, "kind" | "handle"> {
  const most = Math.max(1, Math.floor(PIECE_BYTES / entryBytes(kv)));
  const count = Math.min(end - first, most);
  return { layer, first, count, bytes: readEntries(kv, layer, pages, first, first + count) };
}
