import { operandRowBytes, type Operand, type StoredRows } from "../kernels/index.ts";

/** A dispatch message that does not say what it should. */
export class DispatchError extends Error {
  override readonly name = "DispatchError";
}

/** What one rank gets of a sender's rows: each row once, however many of its experts lie there. */
export interface DispatchPart {
  /** Ascending, among the sender's. */
  readonly rows: ArrayLike<number>;
  /** For each (row, choice) that goes there, by slot: its row's index in `rows`, and the expert's slot. */
  readonly pairRows: Int32Array;
  readonly pairSlots: Int32Array;
}

/** Matmul inputs behind each other, exactly as the policy rounds them. */
export interface RowBytes {
  readonly values: Uint8Array;
  readonly scales: Uint8Array;
}

/** Rows of one rank for some others, which are numbered as in their unit. */
export interface DispatchMessage {
  readonly source: number;
  readonly bytes: RowBytes;
  readonly parts: ReadonlyMap<number, DispatchPart>;
}

/** Source, rows and parts; of each part its rank, rows and pairs. */
const HEAD = 3;

const bytesOf = (array: ArrayBufferView) =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

export const rowBytesOf = ({ values, scales }: Operand): RowBytes => ({
  values: bytesOf(values),
  scales: bytesOf(scales),
});

/**
 * One message, as parts of it: counts, rows and pairs of each rank's part, then each row that any of them has,
 * once; and how many these are.
 */
export function encodeDispatch(
  { source, bytes, parts }: DispatchMessage,
  like: Operand,
): { readonly rows: number; readonly parts: Uint8Array[] } {
  const all = [...parts];
  const rows = unionOf(all.map(([, part]) => part.rows));
  const head = [source, rows.length, all.length];
  for (const [rank, part] of all) head.push(rank, part.rows.length, part.pairRows.length);
  const lists = all.flatMap(([, part]) => [
    placesOf(part.rows, rows),
    part.pairRows,
    part.pairSlots,
  ]);
  const { values, scales } = operandRowBytes(like);
  const message = [
    bytesOf(Int32Array.from(head)),
    ...lists.map(bytesOf),
    ...runsOf(bytes.values, rows, values),
    ...runsOf(bytes.scales, rows, scales),
  ];
  return { rows: rows.length, parts: message };
}

/** Ascending, each once, of lists that ascend. */
function unionOf(lists: readonly ArrayLike<number>[]): ArrayLike<number> {
  if (lists.length === 1) return lists[0];
  const end = 1 + Math.max(-1, ...lists.map((list) => list[list.length - 1] ?? -1));
  const has = new Uint8Array(end);
  for (const list of lists) for (let i = 0; i < list.length; i++) has[list[i]] = 1;
  const rows = new Int32Array(end);
  let count = 0;
  for (let row = 0; row < end; row++) if (has[row]) rows[count++] = row;
  return rows.subarray(0, count);
}

/** Where rows lie among others that ascend, too. */
function placesOf(rows: ArrayLike<number>, all: ArrayLike<number>): Int32Array {
  const places = new Int32Array(rows.length);
  let at = 0;
  for (let i = 0; i < rows.length; i++) {
    while (all[at] !== rows[i]) at++;
    places[i] = at;
  }
  return places;
}

/** Some rows, those that follow one another at once. */
function runsOf(from: Uint8Array, rows: ArrayLike<number>, rowBytes: number): Uint8Array[] {
  const runs: Uint8Array[] = [];
  if (rowBytes === 0) return runs;
  for (let first = 0; first < rows.length;) {
    let end = first + 1;
    while (end < rows.length && rows[end] === rows[end - 1] + 1) end++;
    runs.push(from.subarray(rows[first] * rowBytes, (rows[end - 1] + 1) * rowBytes));
    first = end;
  }
  return runs;
}

/**
 * @param like the operand whose format and columns the rows must have
 * @throws DispatchError when sizes disagree or anything points outside
 */
export function decodeDispatch(
  message: Uint8Array,
  like: Operand,
  { ranks, slots }: { readonly ranks: number; readonly slots: number },
): DispatchMessage {
  const words = new WordReader(message);
  const [source, rows, count] = words.take(HEAD);
  if (outside(source, ranks) || rows < 0 || outside(count, ranks)) {
    throw new DispatchError(`${rows} rows of rank ${source} for ${count} of ${ranks} ranks`);
  }
  const heads = Array.from({ length: count }, () => words.take(HEAD));
  const parts = new Map<number, DispatchPart>();
  for (const [rank, partRows, pairs] of heads) {
    if (outside(rank, ranks) || outside(partRows, rows + 1) || pairs < 0) {
      throw new DispatchError(`${partRows} of ${rows} rows and ${pairs} pairs for rank ${rank}`);
    }
    const part = {
      rows: words.take(partRows),
      pairRows: words.take(pairs),
      pairSlots: words.take(pairs),
    };
    const points = (list: Int32Array, limit: number) => list.some((index) => outside(index, limit));
    if (
      points(part.rows, rows) ||
      points(part.pairRows, partRows) ||
      points(part.pairSlots, slots)
    ) {
      throw new DispatchError(`a pair points outside ${partRows} rows or ${slots} experts`);
    }
    parts.set(rank, part);
  }
  const { values, scales } = operandRowBytes(like);
  const operand = message.subarray(words.bytes);
  if (operand.length !== rows * (values + scales)) {
    const expected = words.bytes + rows * (values + scales);
    throw new DispatchError(`${rows} rows take ${expected} bytes, got ${message.byteLength}`);
  }
  const bytes = {
    values: operand.subarray(0, rows * values),
    scales: operand.subarray(rows * values),
  };
  return { source, bytes, parts };
}

const outside = (index: number, limit: number) => index < 0 || index >= limit;

/** Reads lists of words off a message, which may begin at any byte. */
class WordReader {
  readonly #message: Uint8Array;
  bytes = 0;

  constructor(message: Uint8Array) {
    this.#message = message;
  }

  take(words: number): Int32Array {
    const end = this.bytes + 4 * words;
    if (end > this.#message.length) {
      throw new DispatchError(`${this.#message.length} bytes are no dispatch`);
    }
    const taken = new Int32Array(new Uint8Array(this.#message.subarray(this.bytes, end)).buffer);
    this.bytes = end;
    return taken;
  }
}

/** Puts some rows behind each other into an operand, starting at `row`. */
export function placeRows(
  out: Operand,
  row: number,
  rows: ArrayLike<number>,
  { values, scales }: RowBytes,
): void {
  const widths = operandRowBytes(out);
  const place = (to: Uint8Array, from: Uint8Array, rowBytes: number) => {
    let at = row * rowBytes;
    for (const run of runsOf(from, rows, rowBytes)) {
      to.set(run, at);
      at += run.length;
    }
  };
  place(bytesOf(out.values), values, widths.values);
  place(bytesOf(out.scales), scales, widths.scales);
}

/** Rows as bytes that share their memory. */
export function storedBytes(rows: StoredRows, from: number, to: number): Uint8Array {
  return bytesOf(rows.subarray(from, to));
}
