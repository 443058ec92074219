/**
 * Byte-level byte-pair encoding, the inner loop of DeepSeek's tokenizers: a piece of text becomes its bytes,
 * then adjacent tokens merge, lowest rank first and leftmost among equals, until no known pair is left.
 * Same result as HF tokenizers' `BPE`; n log n in a piece's length, so a megabyte of one letter is no attack.
 */

/** The 256 printable characters that stand for bytes in tokenizer.json (GPT-2's alphabet), by byte. */
export const byteAlphabet: readonly string[] = createByteAlphabet();

function createByteAlphabet(): string[] {
  let stranger = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(printable ? byte : stranger++);
  });
}

export interface Merge {
  readonly left: number;
  readonly right: number;
  readonly merged: number;
  /** The lowest is merged first; of pairs that share one, which become the same token, the leftmost. */
  readonly rank: number;
}

export interface BytePairModel {
  /** The token of each byte, or NO_TOKEN. [256] */
  readonly byteTokens: Int32Array;
  readonly merges: readonly Merge[];
  /** Pieces that are a token as they stand, by their bytes as Latin-1; undefined where merges always decide. */
  readonly wholePieces: ReadonlyMap<string, number> | undefined;
}

/** Of a byte that the vocabulary lacks: 13 bytes are in no UTF-8 text. */
export const NO_TOKEN = -2;

const CACHED_PIECES = 32_768;
const CACHED_PIECE_LENGTH = 48;

export class BytePairEncoder {
  readonly #model: BytePairModel;
  readonly #pairs: PairTable;
  readonly #cache = new Map<string, readonly number[]>();
  readonly #heap = new MinHeap();
  readonly #encoder = new TextEncoder();
  #bytes = new Uint8Array(256);
  /** Tokens of the piece at work, -1 where merged into the left neighbour; a linked list in byte order. */
  #tokens = new Int32Array(256);
  #previous = new Int32Array(256);
  #next = new Int32Array(256);

  constructor(model: BytePairModel) {
    this.#model = model;
    this.#pairs = new PairTable(model.merges);
  }

  /** Appends the piece's tokens. */
  encode(piece: string, tokens: number[]): void {
    const known = this.#cache.get(piece);
    if (known !== undefined) {
      for (const token of known) tokens.push(token);
      return;
    }
    const start = tokens.length;
    this.#encodeAfresh(piece, tokens);
    if (piece.length > CACHED_PIECE_LENGTH) return;
    if (this.#cache.size === CACHED_PIECES) this.#cache.clear();
    this.#cache.set(piece, tokens.slice(start));
  }

  #encodeAfresh(piece: string, tokens: number[]): void {
    this.#reserve(piece.length * 3);
    const length = this.#encoder.encodeInto(piece, this.#bytes).written;
    const whole = this.#model.wholePieces?.get(
      Buffer.from(this.#bytes.buffer, 0, length).toString("latin1"),
    );
    if (whole !== undefined) {
      tokens.push(whole);
      return;
    }
    this.#merge(length);
    for (let at = 0; at !== -1; at = this.#next[at]) tokens.push(this.#tokens[at]);
  }

  #merge(length: number): void {
    const tokens = this.#tokens;
    const previous = this.#previous;
    const next = this.#next;
    for (let at = 0; at < length; at++) {
      tokens[at] = this.#model.byteTokens[this.#bytes[at]];
      if (tokens[at] === NO_TOKEN) {
        throw new RangeError(`the vocabulary has no token for byte ${this.#bytes[at]}`);
      }
      previous[at] = at - 1;
      next[at] = at + 1 < length ? at + 1 : -1;
    }
    for (let at = 0; at + 1 < length; at++) this.#propose(at);
    while (this.#heap.size > 0) {
      const proposal = this.#heap.pop();
      const rank = Math.floor(proposal / POSITIONS);
      const at = proposal - rank * POSITIONS;
      const right = next[at];
      if (tokens[at] === -1 || right === -1) continue;
      if (this.#pairs.rank(tokens[at], tokens[right]) !== rank) continue;
      tokens[at] = this.#pairs.merged(rank);
      tokens[right] = -1;
      next[at] = next[right];
      if (next[at] !== -1) {
        previous[next[at]] = at;
        this.#propose(at);
      }
      if (previous[at] !== -1) this.#propose(previous[at]);
    }
  }

  /** Queues the merge of the token at this position with its right neighbour, if there is one. */
  #propose(at: number): void {
    const rank = this.#pairs.rank(this.#tokens[at], this.#tokens[this.#next[at]]);
    if (rank !== -1) this.#heap.push(rank * POSITIONS + at);
  }

  #reserve(length: number): void {
    if (this.#bytes.length >= length) return;
    const capacity = length * 2;
    this.#bytes = new Uint8Array(capacity);
    this.#tokens = new Int32Array(capacity);
    this.#previous = new Int32Array(capacity);
    this.#next = new Int32Array(capacity);
  }
}

/** A proposal is one double, rank · POSITIONS + position: exact below 2^53, ordered by rank, then position. */
const POSITIONS = 2 ** 32;

/** Rank of a pair of tokens, by open addressing: a Map with a key object or string per pair is ten times slower. */
class PairTable {
  readonly #mask: number;
  /** Left and right token and rank of each slot, -1 where free. [slots, 3] */
  readonly #slots: Int32Array;
  /** By rank. */
  readonly #merged: number[] = [];

  constructor(merges: readonly Merge[]) {
    const slots = 2 ** Math.ceil(Math.log2(merges.length * 2 + 2));
    this.#mask = slots - 1;
    this.#slots = new Int32Array(slots * 3).fill(-1);
    // Of a pair listed twice the last rank counts, as in HF tokenizers.
    for (const { left, right, merged, rank } of merges) {
      this.#slots.set([left, right, rank], this.#slot(left, right) * 3);
      this.#merged[rank] = merged;
    }
  }

  /** The pair's rank, or -1. */
  rank(left: number, right: number): number {
    return this.#slots[this.#slot(left, right) * 3 + 2];
  }

  /** The token that the pair of this rank becomes. */
  merged(rank: number): number {
    return this.#merged[rank];
  }

  /** Where the pair is, or would be. */
  #slot(left: number, right: number): number {
    const hash = Math.imul(Math.imul(left, 0x9e3779b1) ^ right, 0x85ebca6b);
    let slot = (hash ^ (hash >>> 15)) & this.#mask;
    while (
      this.#slots[slot * 3] !== -1 &&
      (this.#slots[slot * 3] !== left || this.#slots[slot * 3 + 1] !== right)
    ) {
      slot = (slot + 1) & this.#mask;
    }
    return slot;
  }
}

class MinHeap {
  #values = new Float64Array(256);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(value: number): void {
    if (this.#size === this.#values.length) {
      const grown = new Float64Array(this.#size * 2);
      grown.set(this.#values);
      this.#values = grown;
    }
    const values = this.#values;
    let at = this.#size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (values[parent] <= value) break;
      values[at] = values[parent];
      at = parent;
    }
    values[at] = value;
  }

  /** Removes and returns the least value; the heap must not be empty. */
  pop(): number {
    const values = this.#values;
    const least = values[0];
    const last = values[--this.#size];
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && values[child + 1] < values[child]) child++;
      if (values[child] >= last) break;
      values[at] = values[child];
      at = child;
    }
    values[at] = last;
    return least;
  }
}
