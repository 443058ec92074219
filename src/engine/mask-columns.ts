/** What may come at places of answers, as ranks are told it. */
import { z } from "zod";
import type { TokenMask } from "../kernels/index.ts";

/** Masks that a rank keeps. */
export const MASK_SLOTS = 256;

/** Words before a chain's places, and of each place. */
const CHAIN_WORDS = 3;
const PLACE_WORDS = 3;

/** What may come at places of a sequence that follow one another. */
export interface MaskChain {
  readonly handle: number;
  /** Tokens before the first place. */
  readonly position: number;
  readonly places: readonly PlacedMask[];
}

export interface PlacedMask {
  /** The token before the place: the first one's was told, others may come. */
  readonly after: number;
  /** Where a rank finds the mask again. */
  readonly slot: number;
  /** The mask, where the slot gets it. */
  readonly allowed?: TokenMask;
}

/** Chains as columns, which threads and nodes pass on as bytes; masks are equally long. */
export function maskColumnsOf(chains: readonly MaskChain[]): MaskColumns {
  const words: number[] = [];
  const masks: TokenMask[] = [];
  for (const { handle, position, places } of chains) {
    words.push(handle, position, places.length);
    for (const { after, slot, allowed } of places) {
      words.push(after, slot, allowed ? 1 : 0);
      if (allowed) masks.push(allowed);
    }
  }
  const width = masks[0]?.length ?? 0;
  const allowed = new Uint32Array(width * masks.length);
  for (const [i, mask] of masks.entries()) allowed.set(mask, i * width);
  return { chains: Uint32Array.from(words), masks: masks.length, allowed };
}

/** The chains again. */
export function* chainsOf(columns: MaskColumns): Generator<MaskChain, void, undefined> {
  const { chains, masks, allowed } = columns;
  const width = allowed.length / masks;
  let told = 0;
  const placeAt = (at: number): PlacedMask => {
    const place = { after: chains[at], slot: chains[at + 1] };
    if (chains[at + 2] === 0) return place;
    return { ...place, allowed: allowed.subarray(told * width, ++told * width) };
  };
  for (let at = 0; at < chains.length;) {
    const [handle, position, length] = chains.subarray(at, (at += CHAIN_WORDS));
    const places = Array.from({ length }, (_, i) => placeAt(at + i * PLACE_WORDS));
    at += length * PLACE_WORDS;
    yield { handle, position, places };
  }
}

const words: z.ZodType<Uint32Array> = z.instanceof(Uint32Array);

export interface MaskColumns {
  /**
   * Of each chain its handle, position and how many places it has; of each place the token before it, the slot
   * of its mask, and 1 where the slot gets that.
   */
  readonly chains: Uint32Array;
  /** How many slots get masks; and these, one after the other. */
  readonly masks: number;
  readonly allowed: Uint32Array;
}

export const maskColumns: z.ZodType<MaskColumns> = z
  .object({ chains: words, masks: z.int().min(0), allowed: words })
  .refine(
    areWhole,
    "expected chains of places in slots, and as many masks as they are said to get",
  );

function areWhole({ chains, masks, allowed }: MaskColumns): boolean {
  let told = 0;
  let at = 0;
  while (at + CHAIN_WORDS <= chains.length) {
    const end = at + CHAIN_WORDS + chains[at + 2] * PLACE_WORDS;
    if (end > chains.length) return false;
    for (at += CHAIN_WORDS; at < end; at += PLACE_WORDS) {
      if (chains[at + 1] >= MASK_SLOTS) return false;
      if (chains[at + 2] !== 0) told++;
    }
  }
  return at === chains.length && told === masks && allowed.length % Math.max(masks, 1) === 0;
}
