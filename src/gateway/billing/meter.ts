interface PromptCount {
  readonly tokens: number;
  /** The least that any of its sequences found in the cache; nobody has looked when undefined. */
  hit: number | undefined;
  /** Whether all of it has been computed, which its first generated token shows. */
  computed: boolean;
}

/** What a request's sequences have computed. */
export interface MeterReading {
  /** Tokens of the prompts that are computed, each prompt once. */
  readonly hit: number;
  readonly miss: number;
  readonly output: number;
  /** Sum over output tokens of the context each was computed from. */
  readonly kvTokensRead: number;
}

type Sums = { -readonly [Name in Exclude<keyof MeterReading, "hit" | "miss">]: number };

/** Counts one request's tokens as they come. */
export class Meter {
  readonly #prompts: readonly PromptCount[];
  readonly #sums: Sums = { output: 0, kvTokensRead: 0 };

  /** `promptLengths`: in tokens. */
  constructor(promptLengths: readonly number[]) {
    this.#prompts = promptLengths.map((tokens) => ({ tokens, hit: undefined, computed: false }));
  }

  /** The meter of a sequence of the prompt of that index. */
  sequence(prompt: number): SequenceMeter {
    return new SequenceMeter(this.#prompts[prompt], this.#sums);
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
  #tokens = 0;

  constructor(prompt: PromptCount, sums: Sums) {
    this.#prompt = prompt;
    this.#sums = sums;
  }

  /** Tokens generated so far. */
  get tokens(): number {
    return this.#tokens;
  }

  started(hitTokens: number): void {
    this.#prompt.hit = Math.min(this.#prompt.hit ?? hitTokens, hitTokens);
  }

  token(): void {
    this.#prompt.computed = true;
    this.#sums.output++;
    this.#sums.kvTokensRead += this.#prompt.tokens + this.#tokens++;
  }
}
