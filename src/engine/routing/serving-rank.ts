import type { BlockReader, PrefillLoad } from "../../balancing/index.ts";
import type { UnitRole } from "../../cluster/index.ts";
import { DecodingRank, type Room } from "./decoding-rank.ts";
import { PrefixGuess } from "./prefix-guess.ts";

/** A rank as the router sees it. */
export class ServingRank {
  readonly rank: number;
  readonly role: UnitRole;
  readonly prefixes: PrefixGuess;
  readonly decoding: DecodingRank;
  /** Prompts it has still to compute. */
  prefill: PrefillLoad = { tokens: 0, attentionPairs: 0 };
  /** Blocks that it may have to read from the context cache, and what one takes. */
  reading: BlockReader = { blocks: 0 };
  /** Milliseconds that a block takes from it to a prefill rank, where one has gone. */
  lendMs: number | undefined;
  /** Whose prompt it computes, or whose answer. */
  requests = 0;
  /** Kept for one request. */
  isSetAside = false;
  /** Takes no more requests. */
  isDraining = false;

  constructor(rank: number, role: UnitRole, pages: number, room: Room) {
    this.rank = rank;
    this.role = role;
    this.prefixes = new PrefixGuess(pages);
    this.decoding = new DecodingRank(room);
  }

  /** So many blocks more are to be read, or fewer. */
  expectReads(blocks: number): void {
    this.reading = { ...this.reading, blocks: this.reading.blocks + blocks };
  }

  /** A prompt comes, or is computed. */
  weigh({ tokens, attentionPairs }: PrefillLoad, sign: 1 | -1): void {
    this.prefill = {
      tokens: this.prefill.tokens + sign * tokens,
      attentionPairs: this.prefill.attentionPairs + sign * attentionPairs,
    };
  }
}
