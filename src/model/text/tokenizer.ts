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
  tokenizerPath,
  type TokenizerFile,
} from "./tokenizer-file.ts";
import { Vocabulary, type VocabularyTables } from "./vocabulary.ts";

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

/** A vocabulary that can also encode. */
export class Tokenizer extends Vocabulary {
  readonly #pieces: PreTokenizer;
  readonly #encoder: BytePairEncoder;
  /** Any added token, the longest first; undefined where there are none. */
  readonly #specialPattern: RegExp | undefined;

  constructor(file: TokenizerFile, config: TokenizerConfig) {
    super(vocabularyTables(file, config));
    this.#pieces = createPreTokenizer(file.pre_tokenizer);
    this.#encoder = createEncoder(file.model);
    this.#specialPattern = anyOf(this.tables.specials.map(([text]) => text));
  }

  /** @throws TokenizerError naming the file that is missing or malformed, or the field not supported. */
  static async load(directory: string): Promise<Tokenizer> {
    const { file, config } = await readTokenizerFiles(directory);
    try {
      return new Tokenizer(file, config);
    } catch (cause) {
      const { message } = cause as Error;
      throw new TokenizerError(`${tokenizerPath(directory)}: ${message}`, { cause });
    }
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
      const special = segment.special ? this.specialId(segment.text) : undefined;
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
    const enough = (limit + 1 - tokens.length) * this.longestToken;
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

function vocabularyTables(
  { model, added_tokens }: TokenizerFile,
  { bos_token, eos_token }: TokenizerConfig,
): VocabularyTables {
  const bytesById: Uint8Array[] = [];
  for (const [token, id] of Object.entries(model.vocab)) bytesById[id] = bytesOf(token);
  for (const { content, id } of added_tokens) bytesById[id] = Buffer.from(content);
  // Where no token has an id, it has no bytes.
  const bytes = Array.from(bytesById, (token) => token ?? new Uint8Array(0));
  const offsets = new Int32Array(bytes.length + 1);
  bytes.forEach((token, id) => (offsets[id + 1] = offsets[id] + token.length));
  const specials = new Map(added_tokens.map(({ content, id }) => [content, id]));
  return {
    bytes: Buffer.concat(bytes),
    offsets,
    specials: [...specials],
    bos: specials.get(bos_token ?? ""),
    eos: specials.get(eos_token ?? ""),
  };
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
