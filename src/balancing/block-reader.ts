/** A rank that may read a prompt's blocks from the context cache. */
export interface BlockReader {
  /** That others still expect of it. */
  readonly blocks: number;
  /** Milliseconds that the store has taken it for one, where it has read any. */
  readonly msPerBlock?: number | undefined;
}

/** The two ways of a prompt's blocks (DeepSeek's DualPath). */
export interface BlockWays {
  /** That the prefill rank lacks. */
  readonly blocks: number;
  readonly prefill: BlockReader;
  readonly decode: BlockReader;
  /** Milliseconds for a block to go from the decode rank to the prefill rank, where some have. */
  readonly lendMs?: number | undefined;
}

/**
 * Who reads: the prefill rank, which then hands the blocks over with all the rest, or the decode rank, which
 * lends them to it and keeps them. The one that has them at the prefill rank first; the prefill rank where
 * that is the same. Who has not read yet is as fast as the other.
 */
export function chooseBlockReader(ways: BlockWays): "prefill" | "decode" {
  const { blocks, prefill, decode, lendMs = 0 } = ways;
  if (blocks === 0) return "prefill";
  const known = prefill.msPerBlock ?? decode.msPerBlock ?? 1;
  const readMs = (reader: BlockReader) => (reader.blocks + blocks) * (reader.msPerBlock ?? known);
  return readMs(decode) + blocks * lendMs < readMs(prefill) ? "decode" : "prefill";
}
