import { GrammarError } from "./errors.ts";
import { compileGrammar, type GrammarSource } from "./grammar.ts";
import { DEAD, type Machine } from "./machine.ts";
import type { TokenOrder } from "./token-masks.ts";

/** What an answer begins with before it is constrained. */
export interface Thinking {
  /** The prompt has left thoughts open. */
  readonly startsInReasoning: boolean;
  /** The answer may begin with thoughts. */
  readonly mayThink: boolean;
}

/** A grammar's machine with the masks of its states. */
interface Compiled {
  readonly machine: Machine;
  readonly masks: Map<number, Uint32Array>;
}

const MOST_MASKS = 4096;
const MOST_GRAMMARS = 16;

/** Compiled grammars, the last used ones kept. A machine that has grown large is made anew. */
export class Grammars {
  readonly order: TokenOrder;
  readonly #compiled = new Map<string, Compiled>();

  constructor(order: TokenOrder) {
    this.order = order;
  }

  /** @throws GrammarError */
  compiled(source: GrammarSource): Compiled {
    const key = JSON.stringify(source);
    const known = this.#compiled.get(key);
    const compiled =
      known && !known.machine.isLarge
        ? known
        : { machine: compileGrammar(source), masks: new Map<number, Uint32Array>() };
    this.#compiled.delete(key);
    this.#compiled.set(key, compiled);
    const [oldest] = this.#compiled.keys();
    if (this.#compiled.size > MOST_GRAMMARS) this.#compiled.delete(oldest);
    return compiled;
  }
}

/** Follows one answer through a grammar, and says before each token which may come. */
export class Matcher {
  readonly #grammars: Grammars;
  readonly #source: GrammarSource;
  readonly #thinkBegin: number | undefined;
  readonly #thinkEnd: number | undefined;
  #phase: "beginning" | "thinking" | "answer";
  #compiled: Compiled;
  #state: number;
  /** Of the answer, without thoughts. */
  readonly #tokens: number[] = [];

  /** @throws GrammarError */
  constructor(grammars: Grammars, source: GrammarSource, thinking: Thinking) {
    const { vocabulary } = grammars.order;
    this.#grammars = grammars;
    this.#source = source;
    this.#thinkBegin = vocabulary.specialId("<think>");
    this.#thinkEnd = vocabulary.specialId("</think>");
    const { startsInReasoning, mayThink } = thinking;
    this.#phase = "answer";
    if (this.#thinkEnd !== undefined && startsInReasoning) this.#phase = "thinking";
    else if (this.#thinkEnd !== undefined && this.#thinkBegin !== undefined && mayThink) {
      this.#phase = "beginning";
    }
    this.#compiled = grammars.compiled(source);
    this.#state = this.#compiled.machine.start;
  }

  /**
   * A bit for each token of the vocabulary that may come next.
   * @throws GrammarError when the vocabulary has no token for what must come
   */
  mask(): Uint32Array {
    const { order } = this.#grammars;
    if (this.#phase === "thinking") return order.unfinishedMask();
    const { machine, masks } = this.#compiled;
    const known = masks.get(this.#state);
    const mask = known ?? order.maskAt(machine, this.#state);
    if (masks.size > MOST_MASKS) masks.clear();
    masks.set(this.#state, mask);
    if (this.#phase === "answer" || this.#thinkBegin === undefined) {
      if (mask.every((word) => word === 0)) {
        throw new GrammarError("the vocabulary has no token for what must come next");
      }
      return mask;
    }
    const withThoughts = mask.slice();
    withThoughts[this.#thinkBegin >> 5] |= 1 << (this.#thinkBegin & 31);
    return withThoughts;
  }

  /**
   * Goes on with a token that the last mask allowed.
   * @throws GrammarError when it did not
   */
  push(token: number): void {
    if (this.#phase === "thinking") {
      if (token === this.#thinkEnd) this.#phase = "answer";
      return;
    }
    if (this.#phase === "beginning" && token === this.#thinkBegin) {
      this.#phase = "thinking";
      return;
    }
    this.#phase = "answer";
    this.#tokens.push(token);
    if (this.#compiled.machine.isLarge) {
      this.#compiled = this.#grammars.compiled(this.#source);
      this.#state = this.#compiled.machine.start;
      for (const each of this.#tokens) this.#advance(each);
    } else this.#advance(token);
  }

  #advance(token: number): void {
    const { machine } = this.#compiled;
    const { vocabulary } = this.#grammars.order;
    if (vocabulary.isSpecial(token)) this.#state = machine.stepToken(this.#state, token);
    else
      for (const byte of vocabulary.tokenBytes(token)) {
        if (this.#state !== DEAD) this.#state = machine.step(this.#state, byte);
      }
    if (this.#state === DEAD) throw new GrammarError(`token ${token} was not allowed`);
  }
}
