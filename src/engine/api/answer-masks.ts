import type { TokenMask } from "../../kernels/index.ts";
import type { UntoldMasks } from "./mask-post.ts";

/** Undefined when no token has to come. */
export type Mask = TokenMask | undefined;

/** A token that may come, and what may follow it. */
export interface Step {
  readonly token: number;
  readonly mask: TokenMask;
}

/** Says what may come in an answer. Masks that are the same are best the same object: ranks keep them. */
export interface MaskSource {
  /** What may follow a token that was told. */
  next(token: number): Mask | Promise<Mask>;
  /**
   * Steps from there on, as far as they are known: of the only token that may come, or else of those that are
   * guessed, while they may come.
   */
  ahead(guessed: readonly number[]): readonly Step[];
}

const nothing = { length: 0, tokens: [] };

/** What may come in one answer, and what of it the rank that goes on with the answer has been told. */
export class AnswerMasks {
  readonly #source: MaskSource;
  /** What may come next; never rejects. */
  #next: Mask | Promise<Mask>;
  /** Tokens of prompt and answer so far, and the last of them. */
  #length: number;
  #last = 0;
  /** Whether the rank knows what may come next; then also what may follow these tokens, should they come. */
  #isTold = true;
  #told: number[] = [];
  /** What the rank guesses to come after so many tokens. */
  #guessed: { readonly length: number; readonly tokens: readonly number[] } = nothing;

  constructor(source: MaskSource, first: Mask, length: number) {
    this.#source = source;
    this.#next = first;
    this.#length = length;
  }

  get next(): Mask | Promise<Mask> {
    return this.#next;
  }

  /** Another rank goes on, which is given the next mask and knows no other. */
  beginAnew(): void {
    this.#isTold = true;
    this.#told = [];
    this.#guessed = nothing;
  }

  /** A token was told. Until the promise resolves, if there is one, it is not known what may come next. */
  follow(token: number): Promise<void> | undefined {
    this.#length++;
    this.#last = token;
    if (this.#told.shift() !== token) {
      this.#isTold = false;
      this.#told = [];
    }
    const next = this.#source.next(token);
    if (!(next instanceof Promise)) {
      this.#next = next;
      return undefined;
    }
    const pending = next.catch(() => undefined);
    this.#next = pending;
    return next.then((mask) => {
      if (this.#next === pending) this.#next = mask;
    });
  }

  /** A rank computes tokens, in case they follow the first so many of prompt and answer. */
  guess(length: number, tokens: readonly number[]): void {
    this.#guessed = { length, tokens };
  }

  /**
   * What may come next, and after the tokens that the rank guesses or that must come; undefined where the rank
   * has been told all of it, or nothing is known. It begins with what was told: of what comes after that the
   * rank may have decided meanwhile.
   */
  takeUntold(): UntoldMasks | undefined {
    const mask = this.#next;
    if (!mask || mask instanceof Promise) return undefined;
    const { length, tokens } = this.#guessed;
    const steps = this.#source.ahead(length === this.#length ? tokens : []);
    const isTold = this.#isTold && steps.every(({ token }, i) => token === this.#told[i]);
    if (isTold) return undefined;
    this.#isTold = true;
    this.#told = steps.map(({ token }) => token);
    const ahead = steps.map((step) => ({ after: step.token, mask: step.mask }));
    return { position: this.#length, places: [{ after: this.#last, mask }, ...ahead] };
  }
}
