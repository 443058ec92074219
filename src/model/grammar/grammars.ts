import { createHash } from "node:crypto";
import { GrammarError } from "./errors.ts";
import { compileGrammar, type GrammarSource } from "./grammar.ts";
import { DEAD, type Machine } from "./machine.ts";
import type { TokenOrder } from "./token-masks.ts";

const MOST_GRAMMARS = 16;
const MOST_MASK_BYTES = 64 * 2 ** 20;

/** Where an answer is in a grammar. */
export interface Place {
  readonly state: number;
  /** The number of the mask of what may come next. */
  readonly mask: number;
}

/** A grammar's machine, its states' masks with numbers. */
export class FollowedGrammar {
  readonly id: number;
  readonly #machine: Machine;
  readonly #order: TokenOrder;
  readonly #maskAt: (state: number) => Uint32Array;
  /** By state, and by content: states may share a mask. */
  readonly #numbers = new Map<Uint32Array, number>();
  readonly #contents = new Map<string, number>();
  #made: (readonly [number: number, mask: Uint32Array])[] = [];

  constructor(id: number, machine: Machine, order: TokenOrder) {
    this.id = id;
    this.#machine = machine;
    this.#order = order;
    this.#maskAt = order.masksOf(machine);
  }

  /** Whether the next answer had better have it made anew. */
  get isFull(): boolean {
    const bytes = (4 * this.#numbers.size * this.#order.vocabulary.vocabSize) / 32;
    return this.#machine.isLarge || bytes > MOST_MASK_BYTES;
  }

  get start(): number {
    return this.#machine.start;
  }

  /** @throws GrammarError when the vocabulary has no token for what must come */
  placeAt(state: number): Place {
    const mask = this.#maskAt(state);
    const known = this.#numbers.get(mask);
    if (known !== undefined) return { state, mask: known };
    const content = createHash("sha1").update(mask).digest("base64");
    const number = this.#contents.get(content) ?? this.#contents.size;
    if (number === this.#contents.size) {
      if (mask.every((word) => word === 0)) {
        throw new GrammarError("the vocabulary has no token for what must come next");
      }
      this.#contents.set(content, number);
      this.#made.push([number, mask]);
    }
    this.#numbers.set(mask, number);
    return { state, mask: number };
  }

  /** Masks that have got their numbers since the last time. */
  takeMasks(): (readonly [number: number, mask: Uint32Array])[] {
    const made = this.#made;
    this.#made = [];
    return made;
  }

  /** States on the way through a token's bytes, with what is known of where each of 256 bytes leads. */
  stepsThrough(state: number, token: number): (readonly [state: number, steps: Int32Array])[] {
    const { vocabulary } = this.#order;
    if (vocabulary.isSpecial(token)) return [];
    let at = state;
    return Array.from(vocabulary.tokenBytes(token), (byte) => {
      const steps = this.#machine.stepsOf(at);
      const here = [at, steps] as const;
      at = steps[byte];
      return here;
    });
  }

  /** @throws GrammarError when the token is not allowed */
  stateAfter(state: number, token: number): number {
    const { vocabulary } = this.#order;
    let next = state;
    if (vocabulary.isSpecial(token)) next = this.#machine.stepToken(next, token);
    else
      for (const byte of vocabulary.tokenBytes(token)) {
        if (next !== DEAD) next = this.#machine.step(next, byte);
      }
    if (next === DEAD) throw new GrammarError(`token ${token} was not allowed`);
    return next;
  }
}

/** Grammars that are followed, the last used ones kept. */
export class Grammars {
  readonly #order: TokenOrder;
  readonly #bySource = new Map<string, FollowedGrammar>();
  #made = 0;
  #dropped: number[] = [];

  constructor(order: TokenOrder) {
    this.#order = order;
  }

  /** @throws GrammarError */
  open(source: GrammarSource): FollowedGrammar {
    const key = JSON.stringify(source);
    const known = this.#bySource.get(key);
    if (known?.isFull) this.#drop(key);
    const grammar = this.#bySource.get(key) ?? this.#make(source);
    this.#bySource.delete(key);
    this.#bySource.set(key, grammar);
    const [oldest] = this.#bySource.keys();
    if (this.#bySource.size > MOST_GRAMMARS) this.#drop(oldest);
    return grammar;
  }

  /** Undefined where it is no longer kept, or had better not be followed any further. */
  find(id: number): FollowedGrammar | undefined {
    const found = [...this.#bySource.values()].find((each) => each.id === id);
    return found?.isFull ? undefined : found;
  }

  /** Grammars that have been forgotten since the last time. */
  takeDropped(): number[] {
    const dropped = this.#dropped;
    this.#dropped = [];
    return dropped;
  }

  #make(source: GrammarSource): FollowedGrammar {
    const machine = compileGrammar(source, this.#order.specials);
    return new FollowedGrammar(this.#made++, machine, this.#order);
  }

  #drop(key: string): void {
    const grammar = this.#bySource.get(key);
    this.#bySource.delete(key);
    if (grammar) this.#dropped.push(grammar.id);
  }
}
