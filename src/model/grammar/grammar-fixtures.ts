/** One answer on its way through a grammar, as tests follow it. */
import { compileGrammar, type GrammarSource } from "./grammar.ts";
import { FollowedGrammar } from "./grammars.ts";
import type { Machine } from "./machine.ts";
import type { TokenOrder } from "./token-masks.ts";

export class AnswerWalk {
  readonly #order: TokenOrder;
  readonly #machine: Machine;
  readonly #grammar: FollowedGrammar;
  readonly #masks: Map<number, Uint32Array>;
  #state: number;

  /** Walks begin one after the other, and share what they have learnt. */
  static of(order: TokenOrder, source: GrammarSource): () => AnswerWalk {
    const machine = compileGrammar(source, order.specials);
    const grammar = new FollowedGrammar(0, machine, order);
    const masks = new Map<number, Uint32Array>();
    return () => new AnswerWalk(order, machine, grammar, masks);
  }

  private constructor(
    order: TokenOrder,
    machine: Machine,
    grammar: FollowedGrammar,
    masks: Map<number, Uint32Array>,
  ) {
    this.#order = order;
    this.#machine = machine;
    this.#grammar = grammar;
    this.#masks = masks;
    this.#state = grammar.start;
  }

  mask(): Uint32Array {
    const { mask } = this.#grammar.placeAt(this.#state);
    for (const [number, made] of this.#grammar.takeMasks()) this.#masks.set(number, made);
    return this.#masks.get(mask) as Uint32Array;
  }

  /** Token by token, from the state as it is. */
  exactMask(): Uint32Array {
    const { vocabulary, endTokens } = this.#order;
    const mask = new Uint32Array(Math.ceil(vocabulary.vocabSize / 32));
    const allow = (token: number) => (mask[token >> 5] |= 1 << (token & 31));
    for (let token = 0; token < vocabulary.vocabSize; token++) {
      const bytes = vocabulary.tokenBytes(token);
      if (vocabulary.isSpecial(token) || bytes.length === 0) continue;
      if (
        bytes.reduce((at, byte) => (at < 0 ? at : this.#machine.step(at, byte)), this.#state) >= 0
      ) {
        allow(token);
      }
    }
    for (const token of this.#machine.tokensAt(this.#state)) allow(token);
    if (this.#machine.mayEnd(this.#state)) endTokens.forEach(allow);
    return mask;
  }

  /** The tokens that may come. */
  allowed(): number[] {
    const mask = this.mask();
    return Array.from({ length: this.#order.vocabulary.vocabSize }, (_, token) => token).filter(
      (token) => (mask[token >> 5] >>> (token & 31)) & 1,
    );
  }

  /**
   * Takes allowed tokens, as the choices say, up to where the answer may end.
   * @throws Error when it has not ended after `most`
   */
  takeAny(choices: Iterable<number>, most: number): number[] {
    const { endTokens } = this.#order;
    const tokens: number[] = [];
    for (const choice of choices) {
      const may = this.allowed();
      if (endTokens.some((end) => may.includes(end))) break;
      const token = may[choice % may.length];
      tokens.push(token);
      this.push(token);
      if (tokens.length >= most) throw new Error(`${most} tokens are no answer`);
    }
    return tokens;
  }

  push(token: number): void {
    this.#state = this.#grammar.stateAfter(this.#state, token);
  }
}
