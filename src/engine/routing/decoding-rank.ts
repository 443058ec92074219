import type { DecodeRank } from "../../balancing/index.ts";

/** How much a rank holds at most. */
export type Room = Pick<DecodeRank, "kvCapacity" | "requestCapacity">;

/**
 * What a decode rank holds and will hold: the KV in its pages, as it reports it from time to time,
 * and what its requests are still expected to add.
 */
export class DecodingRank {
  readonly #room: Room;
  /** KV tokens in pages. */
  #held = 0;
  /** KV tokens to come. */
  #expected = 0;
  #requests = 0;

  constructor(room: Room) {
    this.#room = room;
  }

  get load(): DecodeRank {
    const kvTokens = this.#held + this.#expected;
    return { ...this.#room, kvTokens, requests: this.#requests };
  }

  /** Whether it holds all that it is expected to hold. */
  get hasRoom(): boolean {
    return this.#held + this.#expected <= this.#room.kvCapacity;
  }

  /** Prefixes that requests share are in one page. */
  report(heldTokens: number): void {
    this.#held = heldTokens;
  }

  /** A request that is expected to hold so many tokens: told when it has more, and when it leaves. */
  take(kvTokens: number): { grow: (tokens: number) => void; leave: () => void } {
    let held = 0;
    let expected = kvTokens;
    const set = (nowHeld: number, nowExpected: number) => {
      this.#held = Math.max(0, this.#held + nowHeld - held);
      this.#expected += nowExpected - expected;
      held = nowHeld;
      expected = nowExpected;
    };
    this.#requests++;
    this.#expected += expected;
    return {
      grow: (tokens) => set(tokens, Math.max(0, kvTokens - tokens)),
      leave: () => {
        this.#requests--;
        set(0, 0);
      },
    };
  }
}
