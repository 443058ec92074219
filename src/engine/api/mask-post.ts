import { MASK_SLOTS, type PlacedMask, type ToldMask } from "../messages.ts";

/** Masks on their way to ranks: those of one moment together, and one that a rank keeps by its slot. */
export class MaskPost {
  readonly #slots = new Map<number, MaskSlots>();
  #waiting = new Map<number, PlacedMask[]>();

  /** Masks that are one object are the same. */
  add(
    rank: number,
    { handle, position, mask }: { handle: number; position: number; mask: Uint32Array },
  ): void {
    const slots = this.#slots.get(rank) ?? new MaskSlots();
    this.#slots.set(rank, slots);
    const waiting = this.#waiting.get(rank) ?? [];
    this.#waiting.set(rank, waiting);
    waiting.push({ handle, position, mask: slots.tell(mask) });
  }

  /** By rank, once. */
  take(): ReadonlyMap<number, readonly PlacedMask[]> {
    const waiting = this.#waiting;
    if (waiting.size > 0) this.#waiting = new Map();
    return waiting;
  }

  /** A rank is gone. */
  forget(rank: number): void {
    this.#slots.delete(rank);
    this.#waiting.delete(rank);
  }
}

/** Which masks a rank keeps. */
class MaskSlots {
  readonly #slots = new Map<Uint32Array, number>();
  readonly #bySlot: Uint32Array[] = [];
  #next = 0;

  tell(mask: Uint32Array): ToldMask {
    const known = this.#slots.get(mask);
    if (known !== undefined) return { slot: known };
    const slot = this.#next;
    this.#next = (slot + 1) % MASK_SLOTS;
    const former = this.#bySlot[slot];
    if (former) this.#slots.delete(former);
    this.#bySlot[slot] = mask;
    this.#slots.set(mask, slot);
    return { slot, allowed: mask };
  }
}
