/**
 * Text to token ids and back, from a model folder's tokenizer.json or tiktoken.model: the byte-level BPE of
 * DeepSeek-V2, V3, R1, GLM and Kimi. Added tokens (`<｜User｜>`, `<think>`, …) are matched only where the caller says so: what a client writes is
 * encoded as plain text and can never become a marker of the prompt's format.
 */
import { BytePairEncoder } from "./byte-pair-encoding.ts";
import type { PreTokenizer } from "./pre-tokenizer.ts";
import { readTokenizer, type TokenizerParts } from "./tokenizer-parts.ts";
import { Vocabulary } from "./vocabulary.ts";

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

  readonly #begins: boolean;

  constructor({ pieces, model, tables, begins }: TokenizerParts) {
    super(tables);
    this.#pieces = pieces;
    this.#encoder = new BytePairEncoder(model);
    this.#specialPattern = anyOf(this.tables.specials.map(([text]) => text));
    this.#begins = begins;
  }

  /** @throws TokenizerError naming the file that is missing or malformed, or the field not supported. */
  static async load(directory: string): Promise<Tokenizer> {
    return new Tokenizer(await readTokenizer(directory));
  }

  /**
   * Tokens of a prompt in plain text, markers matched: with one begin-of-sentence token, unless the
   * tokenizer has none or wants none. `limit` as in EncodeOptions.
   */
  encodePrompt(text: string, limit?: number): number[] {
    const tokens = this.encode(text, { specials: true, ...(limit === undefined ? {} : { limit }) });
    const { bos } = this;
    if (!this.#begins || bos === undefined || tokens[0] === bos) return tokens;
    return [bos, ...tokens];
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

/** Matches any of the texts, at each place the longest. */
function anyOf(texts: readonly string[]): RegExp | undefined {
  if (texts.length === 0) return undefined;
  const longestFirst = [...texts].sort((a, b) => b.length - a.length);
  return new RegExp(
    longestFirst.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|"),
    "gu",
  );
}
