import { PAGE_TOKENS, type StoredRows } from "../kernels/index.ts";
import type { KvPool } from "../model/index.ts";

/** A message between a prefill and a decode rank that does not say what it should. */
export class TransferError extends Error {
  override readonly name = "TransferError";
}

/** What prefill and decode ranks tell each other about a sequence; `handle` names it on both. */
export type TransferMessage =
  /** The prefill rank has begun with the prompt: may its KV be sent? It would take over what it lacks. */
  | ({ readonly kind: "offer"; readonly handle: number } & Loan)
  /** The decode rank has pages for the whole prompt, and holds the KV of positions before `first`. */
  | { readonly kind: "grant"; readonly handle: number; readonly first: number }
  /** Of what the prefill rank lacks, before the grant. */
  | KvEntries<"lent">
  | KvEntries
  /** All of the prompt's KV has been sent, and this is the first generated token. */
  | { readonly kind: "handover"; readonly handle: number; readonly token: number }
  /** The prefill rank sends nothing more. */
  | { readonly kind: "abandon"; readonly handle: number };

/** Positions that a prefill rank lacks and its decode rank may read for it; `count` is 0 where there are none. */
export interface Loan {
  readonly first: number;
  readonly count: number;
  /** Milliseconds in which the prefill rank would compute them. */
  readonly computeMs: number;
}

/** KV of consecutive positions in one layer: `bytes` holds `count` entries. */
export interface KvEntries<Kind extends "entries" | "lent" = "entries"> {
  readonly kind: Kind;
  readonly handle: number;
  readonly layer: number;
  readonly first: number;
  readonly count: number;
  readonly bytes: Uint8Array;
}

const kinds = ["offer", "grant", "lent", "entries", "handover", "abandon"] as const;
const HEAD_WORDS = 5;
const MOST = 2 ** 31 - 1;

export function encodeTransfer(message: TransferMessage): Uint8Array {
  const bytes = "bytes" in message ? message.bytes : new Uint8Array(0);
  const encoded = new Uint8Array(HEAD_WORDS * 4 + bytes.byteLength);
  const head = new Int32Array(encoded.buffer, 0, HEAD_WORDS);
  head[0] = kinds.indexOf(message.kind);
  head[1] = message.handle;
  if ("layer" in message) head.set([message.layer, message.first, message.count], 2);
  if (message.kind === "offer") {
    head.set([message.first, message.count, Math.min(MOST, Math.round(message.computeMs))], 2);
  }
  if (message.kind === "grant") head[2] = message.first;
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
  const [number, handle, second, first, count] = head;
  const kind = kinds[number];
  switch (kind) {
    case "lent":
    case "entries": {
      const bytes = encoded.subarray(HEAD_WORDS * 4);
      return { kind, handle, layer: second, first, count, bytes };
    }
    case "grant":
      return { kind, handle, first: second };
    case "handover":
      return { kind, handle, token: second };
    case "offer":
      return { kind, handle, first: second, count: first, computeMs: count };
    case "abandon":
      return { kind, handle };
    default:
      throw new TransferError(`${number} is no kind of transfer`);
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: StoredRows) =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** Bytes of one position in one layer. */
export function entryBytes({ layers, width }: KvPool): number {
  return width * layers[0].entries.BYTES_PER_ELEMENT;
}

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
  kv: KvPool,
  layer: number,
  pages: readonly number[],
  first: number,
  end: number,
): Uint8Array {
  const size = entryBytes(kv);
  const pool = bytesOf(kv.layers[layer].entries);
  const out = new Uint8Array((end - first) * size);
  for (const { position, count, entry } of pageRuns(pages, first, end)) {
    out.set(pool.subarray(entry * size, (entry + count) * size), (position - first) * size);
  }
  return out;
}

/**
 * Copies entries that came from another rank into a sequence's pages.
 * @throws TransferError for entries of no layer, outside the pages or of a wrong size
 */
export function writeEntries(
  kv: KvPool,
  pages: readonly number[],
  { layer, first, count, bytes }: KvEntries | KvEntries<"lent">,
): void {
  const size = entryBytes(kv);
  const room = pages.length * PAGE_TOKENS;
  const fits = layer in kv.layers && first >= 0 && count >= 0 && first + count <= room;
  if (!fits || bytes.byteLength !== count * size) {
    const said = `${count} entries of ${bytes.byteLength} bytes from ${first} in layer ${layer}`;
    throw new TransferError(`${said} do not fit ${pages.length} pages`);
  }
  const pool = bytesOf(kv.layers[layer].entries);
  for (const run of pageRuns(pages, first, first + count)) {
    const from = (run.position - first) * size;
    pool.set(bytes.subarray(from, from + run.count * size), run.entry * size);
  }
}
