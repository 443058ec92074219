/** What became of the first proposals counts for more. */
const FIRST_MEMORY = 4;

/** How likely a proposal stands where those before it do, by what became of earlier ones. */
export class Chance {
  #value: number;
  readonly #memory: number;
  #seen = FIRST_MEMORY;

  /** `memory`: what is seen next counts for one part in so many, in the end. */
  constructor(first: number, memory: number) {
    this.#value = first;
    this.#memory = memory;
  }

  get value(): number {
    return this.#value;
  }

  /** Compares proposals with the tokens that were chosen, up to the first that is wrong. */
  learn(proposed: readonly number[], chosen: readonly number[]): void {
    const count = Math.min(proposed.length, chosen.length);
    for (let i = 0; i < count; i++) {
      const isRight = proposed[i] === chosen[i];
      this.#value += (Number(isRight) - this.#value) / Math.min(this.#seen++, this.#memory);
      if (!isRight) return;
    }
  }
}

/** What is seen next counts for one part in so many. */
const TRUST_MEMORY = 32;

/**
 * How far chances are believed. Those that are acted upon are the highest, so they are too high by more than
 * others; and of several drafts the later ones are less likely than the first.
 */
export class Trust {
  #value = 1;

  /** By what chances are to be multiplied. */
  get value(): number {
    return this.#value;
  }

  /** So many of a sequence's proposals stood, each of which had this chance. */
  learn(chance: number, proposed: number, stood: number): void {
    if (proposed === 0) return;
    const believed = chance * this.#value;
    let expected = 0;
    for (let i = 0, stands = believed; i < proposed; i++, stands *= believed) expected += stands;
    const moved = this.#value + (stood - expected) / proposed / TRUST_MEMORY;
    this.#value = Math.min(1, Math.max(0, moved));
  }
}
