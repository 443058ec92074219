import { createHash } from "node:crypto";
import { GrammarError } from "./errors.ts";
import { compileGrammar, type GrammarSource } from "./grammar.ts";
import { DEAD, type Machine } from "./machine.ts";
import type { TokenOrder } from "./token-masks.ts";

const MOST_BYTES = 768 * 2 ** 20;
const MOST_MASK_BYTES = 128 * 2 ** 20;
/** What a machine keeps for each unit of its effort. */
const EFFORT_BYTES = 50;
const LEAST_BYTES = 256 * 2 ** 10;

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

  /** Whether the next answer had better have it made anew: half of what it may cost is spent. */
  get isFull(): boolean {
    return this.#machine.effort.isLow || this.#maskBytes > MOST_MASK_BYTES / 2;
  }

  /** Whether it has nothing left for what it has not met yet. */
  get isSpent(): boolean {
    return this.#machine.effort.isSpent || this.#maskBytes > MOST_MASK_BYTES;
  }

  get bytes(): number {
    return EFFORT_BYTES * this.#machine.effort.spent + this.#maskBytes;
  }

  get #maskBytes(): number {
    return (4 * this.#numbers.size * this.#order.vocabulary.vocabSize) / 32;
  }

  get start(): number {
    return this.#machine.start;
  }

  /** @throws GrammarError when the vocabulary has no token for what must come, or it is spent */
  placeAt(state: number): Place {
    const mask = this.#maskAt(state);
    const known = this.#numbers.get(mask);
    if (known !== undefined) return { state, mask: known };
    if (this.isSpent) throw new GrammarError("the grammar has too many masks to be followed");
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

  /** @throws GrammarError when the token is not allowed, or it is spent */
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

interface KeptGrammar {
  readonly key: string;
  readonly grammar: FollowedGrammar;
}

/** Grammars that are followed; the last used ones are kept. */
export class Grammars {
  readonly #order: TokenOrder;
  readonly #mostBytes: number;
  /** By number, in the order of their last use. */
  readonly #kept = new Map<number, KeptGrammar>();
  /** The number of a source's newest; full ones before it are still followed. */
  readonly #newest = new Map<string, number>();
  #made = 0;

  constructor(order: TokenOrder, mostBytes = MOST_BYTES) {
    this.#order = order;
    this.#mostBytes = mostBytes;
  }

  /** @throws GrammarError */
  open(source: GrammarSource): FollowedGrammar {
    const key = JSON.stringify(source);
    const newest = this.find(this.#newest.get(key));
    return newest && !newest.isFull ? newest : this.#make(source, key);
  }

  /** Undefined where it is no longer kept. */
  find(id: number | undefined): FollowedGrammar | undefined {
    const kept = id === undefined ? undefined : this.#kept.get(id);
    if (kept) this.#keep(kept);
    return kept?.grammar;
  }

  /** Drops those for which there is no room, and says which. */
  takeDropped(): number[] {
    const dropped: number[] = [];
    let bytes = 0;
    for (const kept of this.#kept.values()) bytes += bytesOf(kept);
    for (const [id, kept] of this.#kept) {
      if (bytes <= this.#mostBytes || this.#kept.size === 1) break;
      bytes -= bytesOf(kept);
      this.#kept.delete(id);
      if (this.#newest.get(kept.key) === id) this.#newest.delete(kept.key);
      dropped.push(id);
    }
    return dropped;
  }

  #make(source: GrammarSource, key: string): FollowedGrammar {
    const machine = compileGrammar(source, this.#order.specials);
    const grammar = new FollowedGrammar(this.#made++, machine, this.#order);
    this.#newest.set(key, grammar.id);
    this.#keep({ key, grammar });
    return grammar;
  }

  #keep(kept: KeptGrammar): void {
    this.#kept.delete(kept.grammar.id);
    this.#kept.set(kept.grammar.id, kept);
  }
}

/** With its source, of which its rules may still be made. */
const bytesOf = ({ key, grammar }: KeptGrammar) => LEAST_BYTES + grammar.bytes + 4 * key.length;
