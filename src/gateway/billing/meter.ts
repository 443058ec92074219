interface PromptCount {
  readonly tokens: number;
  /** The least that any of its sequences found in the cache; nobody has looked when undefined. */
  hit: number | undefined;
  /** Whether all of it has been computed, which its first generated token shows. */
  computed: boolean;
}

/** What a request's sequences have computed; times are sums over those that generated a token. */
export interface MeterReading {
  /** Tokens of the prompts that are computed, each prompt once. */
  readonly hit: number;
  readonly miss: number;
  readonly output: number;
  /** Sum over output tokens of the context each was computed from. */
  readonly kvTokensRead: number;
  /** Sequences that generated a token. */
  readonly sequences: number;
  /** Milliseconds from admission to first token. */
  readonly firstTokenMs: number;
  /** From first token to last. */
  readonly decodeMs: number;
  /** How often ranks were lost and others went on, and the tokens that these computed again. */
  readonly resumed: number;
  readonly recomputedTokens: number;
}

type Sums = { -readonly [Name in Exclude<keyof MeterReading, "hit" | "miss">]: number };

/** Counts and times one request's tokens as they come. */
export class Meter {
  readonly #prompts: readonly PromptCount[];
  readonly #sums: Sums = {
    output: 0,
    kvTokensRead: 0,
    sequences: 0,
    firstTokenMs: 0,
    decodeMs: 0,
    resumed: 0,
    recomputedTokens: 0,
  };

  /** `promptLengths`: in tokens. */
  constructor(promptLengths: readonly number[]) {
    this.#prompts = promptLengths.map((tokens) => ({ tokens, hit: undefined, computed: false }));
  }

  /** The meter of a sequence of the prompt of that index, admitted at `now` (milliseconds). */
  sequence(prompt: number, now: number): SequenceMeter {
    return new SequenceMeter(this.#prompts[prompt], this.#sums, now);
  }

  /** Others go on with a sequence whose ranks are lost: at the cost of the house. */
  resumed(recomputedTokens: number): void {
    this.#sums.resumed++;
    this.#sums.recomputedTokens += recomputedTokens;
  }

  read(): MeterReading {
    const computed = this.#prompts.filter((prompt) => prompt.computed);
    const hit = computed.reduce((sum, prompt) => sum + (prompt.hit ?? 0), 0);
    const all = computed.reduce((sum, prompt) => sum + prompt.tokens, 0);
    return { hit, miss: all - hit, ...this.#sums };
  }
}

/** One sequence's share of a request's meter. */
class SequenceMeter {
  readonly #prompt: PromptCount;
  readonly #sums: Sums;
  #before: number;
  #tokens = 0;

  constructor(prompt: PromptCount, sums: Sums, now: number) {
    this.#prompt = prompt;
    this.#sums = sums;
    this.#before = now;
  }

  /** Tokens generated so far. */
  get tokens(): number {
    return this.#tokens;
  }

  started(hitTokens: number): void {
    this.#prompt.hit = Math.min(this.#prompt.hit ?? hitTokens, hitTokens);
  }

  /** Counts a token that came at `now`. */
  token(now: number): void {
    const sums = this.#sums;
    // A clock that was set back has not run backwards.
    const elapsed = Math.max(0, now - this.#before);
    if (this.#tokens === 0) {
      this.#prompt.computed = true;
      sums.sequences++;
      sums.firstTokenMs += elapsed;
    } else {
      sums.decodeMs += elapsed;
    }
    sums.output++;
    sums.kvTokensRead += this.#prompt.tokens + this.#tokens++;
    this.#before = now;
  }
}
