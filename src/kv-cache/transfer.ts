import { PAGE_TOKENS, type StoredRows } from "../kernels/index.ts";

/** A message between a prefill and a decode rank that does not say what it should. */
export class TransferError extends Error {
  override readonly name = "TransferError";
}

/** What a prefill rank tells a decode rank about a sequence; `handle` names it on both. */
export type TransferMessage =
  /** KV of consecutive positions in one layer: `bytes` holds `count` entries. */
  | {
      readonly kind: "entries";
      readonly handle: number;
      readonly layer: number;
      readonly first: number;
      readonly count: number;
      readonly bytes: Uint8Array;
    }
  /** All of the prompt's KV has been sent, and this is the first generated token. */
  | { readonly kind: "handover"; readonly handle: number; readonly token: number }
  /** Nothing more will come. */
  | { readonly kind: "abandon"; readonly handle: number };

const kinds = ["entries", "handover", "abandon"] as const;
const HEAD_WORDS = 5;

export function encodeTransfer(message: TransferMessage): Uint8Array {
  const bytes = message.kind === "entries" ? message.bytes : new Uint8Array(0);
  const encoded = new Uint8Array(HEAD_WORDS * 4 + bytes.byteLength);
  const head = new Int32Array(encoded.buffer, 0, HEAD_WORDS);
  head[0] = kinds.indexOf(message.kind);
  head[1] = message.handle;
  if (message.kind === "entries") head.set([message.layer, message.first, message.count], 2);
  if (message.kind === "handover") head[2] = message.token;
  encoded.set(bytes, HEAD_WORDS * 4);
  return encoded;
}

/** @throws TransferError */
export function decodeTransfer(encoded: Uint8Array): TransferMessage {
  if (encoded.byteLength < HEAD_WORDS * 4) {
    throw new TransferError(`${encoded.byteLength} bytes are no transfer`);
  }
  const head = new Int32Array(encoded.slice(0, HEAD_WORDS * 4).buffer);
  const [kind, handle, second, first, count] = head;
  switch (kinds[kind]) {
    case "entries": {
      const bytes = encoded.subarray(HEAD_WORDS * 4);
      return { kind: "entries", handle, layer: second, first, count, bytes };
    }
    case "handover":
      return { kind: "handover", handle, token: second };
    case "abandon":
      return { kind: "abandon", handle };
    default:
      throw new TransferError(`${kind} is no kind of transfer`);
  }
}

/** A rank's cache: one array of entries for each layer, `[pages × PAGE_TOKENS, width]`. */
export interface PagedKv {
  readonly layers: readonly { readonly entries: StoredRows }[];
  /** Values of an entry: latent and rotated key. */
  readonly width: number;
}

/** Rows of the same type. */
const rowsLike = (entries: StoredRows, count: number): StoredRows =>
  entries instanceof Float32Array ? new Float32Array(count) : new Uint16Array(count);

/** Runs of positions that lie in one page, and where each begins in the pool. */
function* pageRuns(pages: readonly number[], first: number, end: number) {
  for (let position = first; position < end;) {
    const block = Math.floor(position / PAGE_TOKENS);
    const next = Math.min(end, (block + 1) * PAGE_TOKENS);
    const entry = pages[block] * PAGE_TOKENS + (position % PAGE_TOKENS);
    yield { position, count: next - position, entry };
    position = next;
  }
}

/** Copies a layer's entries of positions `first` to `end` out of a sequence's pages. */
export function readEntries(
  { layers, width }: PagedKv,
  layer: number,
  pages: readonly number[],
  first: number,
  end: number,
): Uint8Array {
  const { entries } = layers[layer];
  const out = rowsLike(entries, (end - first) * width);
  for (const { position, count, entry } of pageRuns(pages, first, end)) {
    const from = entry * width;
    out.set(entries.subarray(from, from + count * width), (position - first) * width);
  }
  return new Uint8Array(out.buffer);
}

/** A prompt's KV while it arrives, kept beside the pool until the sequence has pages. */
export class ArrivingKv {
  readonly tokens: number;
  readonly #kv: PagedKv;
  /** [layers][tokens, width] */
  readonly #layers: readonly StoredRows[];

  constructor(kv: PagedKv, tokens: number) {
    this.tokens = tokens;
    this.#kv = kv;
    this.#layers = kv.layers.map(({ entries }) => rowsLike(entries, tokens * kv.width));
  }

  /** @throws TransferError for entries outside the prompt */
  accept({ layer, first, count, bytes }: TransferMessage & { readonly kind: "entries" }): void {
    const rows = this.#layers[layer];
    const fits = rows && first >= 0 && count >= 0 && first + count <= this.tokens;
    const entryBytes = this.#kv.width * (rows?.BYTES_PER_ELEMENT ?? 0);
    if (!fits || bytes.byteLength !== count * entryBytes) {
      const said = `${count} entries of ${bytes.byteLength} bytes from ${first} in layer ${layer}`;
      throw new TransferError(`${said} do not fit a prompt of ${this.tokens} tokens`);
    }
    new Uint8Array(rows.buffer).set(bytes, first * entryBytes);
  }

  /** Writes positions from `first` on into a sequence's pages. */
  writeTo(pages: readonly number[], first: number): void {
    const { layers, width } = this.#kv;
    for (const [layer, { entries }] of layers.entries()) {
      for (const { position, count, entry } of pageRuns(pages, first, this.tokens)) {
        const from = position * width;
        entries.set(this.#layers[layer].subarray(from, from + count * width), entry * width);
      }
    }
  }
}
