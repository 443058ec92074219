/** What a vocabulary is made of; can be sent to another thread. */
export interface VocabularyTables {
  /** All tokens' bytes, one after the other, and where each begins. [vocabSize + 1] */
  readonly bytes: Uint8Array;
  readonly offsets: Int32Array;
  /** Added tokens: text and id. */
  readonly specials: readonly (readonly [text: string, id: number])[];
  readonly bos: number | undefined;
  readonly eos: number | undefined;
}

/** Token ids to text. Needs nothing of what text to token ids takes, and a hundredth of the memory. */
export class Vocabulary {
  readonly tables: VocabularyTables;
  /** One more than the highest token id; the model's embedding may have more rows. */
  readonly vocabSize: number;
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  readonly longestToken: number;
  readonly #specials: ReadonlyMap<string, number>;
  readonly #specialTokens: ReadonlySet<number>;

  constructor(tables: VocabularyTables) {
    this.tables = tables;
    this.vocabSize = tables.offsets.length - 1;
    this.bos = tables.bos;
    this.eos = tables.eos;
    this.longestToken = longestOf(tables.offsets);
    this.#specials = new Map(tables.specials);
    this.#specialTokens = new Set(this.#specials.values());
  }

  /** A lower bound on the text's token count, from its length alone: refuses what cannot fit unseen. */
  minimumTokens(text: string): number {
    return Math.ceil(Buffer.byteLength(text) / this.longestToken);
  }

  /** Added tokens are written out; bytes that are no UTF-8 become U+FFFD, ids outside the vocabulary nothing. */
  decode(tokens: readonly number[]): string {
    const bytes = Buffer.concat(tokens.map((token) => this.tokenBytes(token)));
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  }

  /** The token's raw bytes, a view not to be written to; a token can be part of a character. */
  tokenBytes(token: number): Uint8Array {
    const { bytes, offsets } = this.tables;
    return bytes.subarray(offsets[token] ?? 0, offsets[token + 1] ?? 0);
  }

  /** Whether this is an added token, which is never part of ordinary text. */
  isSpecial(token: number): boolean {
    return this.#specialTokens.has(token);
  }

  specialId(text: string): number | undefined {
    return this.#specials.get(text);
  }
}

function longestOf(offsets: Int32Array): number {
  let longest = 1;
  for (let id = 1; id < offsets.length; id++) {
    longest = Math.max(longest, offsets[id] - offsets[id - 1]);
  }
  return longest;
}
