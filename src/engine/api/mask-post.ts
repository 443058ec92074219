import type { TokenMask } from "../../kernels/index.ts";
import {
  MASK_SLOTS,
  maskColumnsOf,
  type MaskChain,
  type MaskColumns,
  type PlacedMask,
} from "../mask-columns.ts";

/** What may come at places of an answer that follow one another, each with the token before it. */
export interface UntoldMasks {
  /** Tokens before the first place. */
  readonly position: number;
  readonly places: readonly { readonly after: number; readonly mask: TokenMask }[];
}

/** Masks on their way to ranks: those of one moment together, and one that a rank keeps by its slot. */
export class MaskPost {
  readonly #boxes = new Map<number, MaskBox>();

  /** Masks that are one object are the same, and masks of one model equally long. */
  add(rank: number, handle: number, masks: UntoldMasks): void {
    let box = this.#boxes.get(rank);
    if (!box) this.#boxes.set(rank, (box = new MaskBox()));
    box.add(handle, masks);
  }

  /** By rank, once. */
  *take(): Generator<readonly [rank: number, masks: MaskColumns], void, undefined> {
    for (const [rank, box] of this.#boxes) {
      const chains = box.take();
      if (chains.length > 0) yield [rank, maskColumnsOf(chains)];
    }
  }

  /** A rank is gone. */
  forget(rank: number): void {
    this.#boxes.delete(rank);
  }
}

/** What is to be told to a rank, which knows masks by their slots. */
class MaskBox {
  readonly #slots = new Map<TokenMask, number>();
  readonly #bySlot: TokenMask[] = [];
  #next = 0;
  #chains: MaskChain[] = [];

  add(handle: number, { position, places }: UntoldMasks): void {
    const placed = places.map(({ after, mask }): PlacedMask => {
      const slot = this.#slots.get(mask);
      return slot === undefined
        ? { after, slot: this.#keep(mask), allowed: mask }
        : { after, slot };
    });
    this.#chains.push({ handle, position, places: placed });
  }

  take(): readonly MaskChain[] {
    const chains = this.#chains;
    if (chains.length > 0) this.#chains = [];
    return chains;
  }

  /** In the slot that got its mask first. */
  #keep(mask: TokenMask): number {
    const slot = this.#next;
    this.#next = (slot + 1) % MASK_SLOTS;
    const former = this.#bySlot[slot];
    if (former) this.#slots.delete(former);
    this.#bySlot[slot] = mask;
    this.#slots.set(mask, slot);
    return slot;
  }
}
