/**
 * Text to token ids and back, from a model folder's tokenizer.json: the byte-level BPE of DeepSeek-V2, V3, R1 and
 * GLM. Added tokens (`<｜User｜>`, `<think>`, …) are matched only where the caller says so: what a client writes is
 * encoded as plain text and can never become a marker of the prompt's format.
 */
import { byteAlphabet, BytePairEncoder, type Merge } from "./byte-pair-encoding.ts";
import { createPreTokenizer, type PreTokenizer } from "./pre-tokenizer.ts";
import {
  readTokenizerFiles,
  type TokenizerConfig,
  TokenizerError,
  type TokenizerFile,
} from "./tokenizer-file.ts";

export interface EncodeOptions {
  /** Whether added tokens in the text are matched; false encodes `<｜User｜>` as the letters it is written with. */
  readonly specials: boolean;
  /** Encoding stops once there are more tokens than this: then the result is cut, but longer than the limit. */
  readonly limit?: number;
}

/** A stretch of a prompt: a marker (one added token) or plain text. */
export interface Segment {
  readonly text: string;
  readonly special: boolean;
}

export class Tokenizer {
  /** One more than the highest token id; the model's embedding may have more rows. */
  readonly vocabSize: number;
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  readonly #pieces: PreTokenizer;
  readonly #encoder: BytePairEncoder;
  readonly #specials: ReadonlyMap<string, number>;
  readonly #specialTokens: ReadonlySet<number>;
  /** Any added token, the longest first; undefined where there are none. */
  readonly #specialPattern: RegExp | undefined;
  /** All tokens' bytes, one after the other, and where each begins. [vocabSize + 1] */
  readonly #bytes: Uint8Array;
  readonly #offsets: Int32Array;
  readonly #longestToken: number;

  constructor(file: TokenizerFile, config: TokenizerConfig) {
    this.#pieces = createPreTokenizer(file.pre_tokenizer);
    this.#encoder = createEncoder(file.model);
    this.#specials = new Map(file.added_tokens.map((token) => [token.content, token.id]));
    this.#specialTokens = new Set(this.#specials.values());
    this.#specialPattern = anyOf([...this.#specials.keys()]);
    const bytes = tokenBytesById(file);
    this.vocabSize = bytes.length;
    this.#bytes = Buffer.concat(bytes);
    this.#offsets = new Int32Array(bytes.length + 1);
    bytes.forEach((token, id) => (this.#offsets[id + 1] = this.#offsets[id] + token.length));
    this.#longestToken = bytes.reduce((longest, token) => Math.max(longest, token.length), 1);
    this.bos = this.#specials.get(config.bos_token ?? "");
    this.eos = this.#specials.get(config.eos_token ?? "");
  }

  /** @throws TokenizerError naming the file that is missing or malformed, or the field not supported. */
  static async load(directory: string): Promise<Tokenizer> {
    const { file, config } = await readTokenizerFiles(directory);
    return new Tokenizer(file, config);
  }

  /** Never adds a begin-of-sentence token by itself. */
  encode(text: string, { specials, limit = Infinity }: EncodeOptions): number[] {
    return this.encodeSegments(specials ? this.split(text) : [{ text, special: false }], limit);
  }

  /**
   * Tokens of a prompt in segments: markers become their token, the text between two markers is encoded as a whole.
   * A marker that this tokenizer lacks is plain text. `limit` as in EncodeOptions.
   */
  encodeSegments(segments: readonly Segment[], limit = Infinity): number[] {
    const tokens: number[] = [];
    let text = "";
    for (const segment of segments) {
      const special = segment.special ? this.#specials.get(segment.text) : undefined;
      if (special === undefined) {
        text += segment.text;
        continue;
      }
      this.#encodePlain(text, tokens, limit);
      text = "";
      if (tokens.length > limit) return tokens;
      tokens.push(special);
    }
    this.#encodePlain(text, tokens, limit);
    return tokens;
  }

  #encodePlain(text: string, tokens: number[], limit: number): void {
    // This many characters have more tokens than the limit leaves room for, whatever they are.
    const enough = (limit + 1 - tokens.length) * this.#longestToken;
    this.#pieces(text.length > enough ? text.slice(0, enough) : text, (piece) => {
      this.#encoder.encode(piece, tokens);
      return tokens.length <= limit;
    });
  }

  /** The text as plain stretches and added tokens; of tokens that begin at one place the longest counts. */
  split(text: string): Segment[] {
    const segments: Segment[] = [];
    let done = 0;
    for (const match of this.#specialPattern ? text.matchAll(this.#specialPattern) : []) {
      if (match.index > done) {
        segments.push({ text: text.slice(done, match.index), special: false });
      }
      segments.push({ text: match[0], special: true });
      done = match.index + match[0].length;
    }
    if (done < text.length) segments.push({ text: text.slice(done), special: false });
    return segments;
  }

  /** A lower bound on the text's token count, from its length alone: refuses what cannot fit unseen. */
  minimumTokens(text: string): number {
    return Math.ceil(Buffer.byteLength(text) / this.#longestToken);
  }

  /** Added tokens are written out; bytes that are no UTF-8 become U+FFFD, ids outside the vocabulary nothing. */
  decode(tokens: readonly number[]): string {
    const bytes = Buffer.concat(tokens.map((token) => this.tokenBytes(token)));
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  }

  /** The token's raw bytes, a view not to be written to; a token can be part of a character. */
  tokenBytes(token: number): Uint8Array {
    return this.#bytes.subarray(this.#offsets[token] ?? 0, this.#offsets[token + 1] ?? 0);
  }

  /** Whether this is an added token, which is never part of ordinary text. */
  isSpecial(token: number): boolean {
    return this.#specialTokens.has(token);
  }

  specialId(text: string): number | undefined {
    return this.#specials.get(text);
  }
}

function createEncoder({ vocab, merges, ignore_merges }: TokenizerFile["model"]): BytePairEncoder {
  const ids = new Map(Object.entries(vocab));
  const idOf = (token: string, field: string): number => {
    const id = ids.get(token);
    if (id === undefined) throw new TokenizerError(`model.${field}: the vocabulary lacks ${token}`);
    return id;
  };
  const byteTokens = byteAlphabet.map((character, byte) => idOf(character, `vocab: byte ${byte}`));
  const pairs = merges.map((merge, rank): Merge => {
    const [left, right] = typeof merge === "string" ? merge.split(" ", 2) : merge;
    const field = `merges.${rank}`;
    return {
      left: idOf(left, field),
      right: idOf(right, field),
      merged: idOf(left + right, field),
    };
  });
  const wholePieces = ignore_merges
    ? new Map([...ids].map(([token, id]) => [bytesOf(token).toString("latin1"), id]))
    : undefined;
  return new BytePairEncoder({
    byteTokens: Int32Array.from(byteTokens),
    merges: pairs,
    wholePieces,
  });
}

const alphabetBytes: ReadonlyMap<string, number> = new Map(
  byteAlphabet.map((character, byte) => [character, byte]),
);

/** The bytes that a token of the vocabulary stands for; one not spelt in the byte alphabet is its own text. */
function bytesOf(token: string): Buffer {
  const bytes = Array.from(token, (character) => alphabetBytes.get(character) ?? -1);
  return bytes.includes(-1) ? Buffer.from(token) : Buffer.from(bytes);
}

/** Each id's bytes, none where no token has it. */
function tokenBytesById({ model, added_tokens }: TokenizerFile): Uint8Array[] {
  const bytes: Uint8Array[] = [];
  for (const [token, id] of Object.entries(model.vocab)) bytes[id] = bytesOf(token);
  for (const { content, id } of added_tokens) bytes[id] = Buffer.from(content);
  return Array.from(bytes, (token) => token ?? new Uint8Array(0));
}

/** Matches any of the texts, at each place the longest. */
function anyOf(texts: readonly string[]): RegExp | undefined {
  if (texts.length === 0) return undefined;
  const longestFirst = [...texts].sort((a, b) => b.length - a.length);
  return new RegExp(
    longestFirst.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|"),
    "gu",
  );
}
