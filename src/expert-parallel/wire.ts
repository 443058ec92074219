import { operandRowBytes, type Operand, type StoredRows } from "../kernels/index.ts";
import type { DispatchPart } from "./layout.ts";

/** A dispatch message that does not say what it should. */
export class DispatchError extends Error {
  override readonly name = "DispatchError";
}

/** For each (row, choice) of a rank's rows that came here: the row, and the expert's slot. */
export interface ReceivedPairs {
  /** [pairs] */
  readonly pairRows: ArrayLike<number>;
  readonly pairSlots: ArrayLike<number>;
}

/** Rows received of one rank: matmul inputs as that rank rounded them, and the experts they chose. */
export interface ReceivedRows extends ReceivedPairs {
  readonly rows: number;
  /** [pairs] */
  readonly pairRows: Int32Array;
  readonly pairSlots: Int32Array;
  /** Bytes of the operand's values, then of its scales. */
  readonly operand: Uint8Array;
}

const bytesOf = (array: ArrayBufferView) =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** One message, in memory of its own: counts, pairs, then the rows exactly as the policy rounds them. */
export function encodeDispatch(part: DispatchPart, input: Operand): Uint8Array {
  const { values, scales } = operandRowBytes(input);
  const rows = part.rows.length;
  const pairs = part.pairRows.length;
  const headBytes = 4 * (2 + 2 * pairs);
  // All of it is written below.
  const { buffer } = Buffer.allocUnsafeSlow(headBytes + rows * (values + scales));
  const head = new Int32Array(buffer, 0, headBytes / 4);
  head[0] = rows;
  head[1] = pairs;
  head.set(part.pairRows, 2);
  head.set(part.pairSlots, 2 + pairs);
  const message = new Uint8Array(buffer);
  copyRows(message, headBytes, bytesOf(input.values), part.rows, values);
  copyRows(message, headBytes + rows * values, bytesOf(input.scales), part.rows, scales);
  return message;
}

/** Puts the rows of a part, which stay on their rank, into an operand, starting at `row`. */
export function placeOwnRows(out: Operand, row: number, part: DispatchPart, input: Operand): void {
  const { values, scales } = operandRowBytes(out);
  copyRows(bytesOf(out.values), row * values, bytesOf(input.values), part.rows, values);
  copyRows(bytesOf(out.scales), row * scales, bytesOf(input.scales), part.rows, scales);
}

/** Behind each other; rows that follow one another are copied at once. */
function copyRows(
  out: Uint8Array,
  at: number,
  from: Uint8Array,
  rows: readonly number[],
  rowBytes: number,
): void {
  for (let first = 0; first < rows.length;) {
    let end = first + 1;
    while (end < rows.length && rows[end] === rows[end - 1] + 1) end++;
    const source = from.subarray(rows[first] * rowBytes, (rows[end - 1] + 1) * rowBytes);
    out.set(source, at + first * rowBytes);
    first = end;
  }
}

/**
 * @param like the operand whose format and columns the rows must have
 * @throws DispatchError when sizes disagree or a pair points outside
 */
export function decodeDispatch(message: Uint8Array, like: Operand, slots: number): ReceivedRows {
  if (message.byteLength < 8)
    throw new DispatchError(`${message.byteLength} bytes are no dispatch`);
  const [rows, pairs] = new Int32Array(message.slice(0, 8).buffer);
  const { values, scales } = operandRowBytes(like);
  const headBytes = 4 * (2 + 2 * pairs);
  const expected = headBytes + rows * (values + scales);
  if (rows < 0 || pairs < 0 || message.byteLength !== expected) {
    const said = `${rows} rows and ${pairs} pairs`;
    throw new DispatchError(`${said} take ${expected} bytes, got ${message.byteLength}`);
  }
  const head = new Int32Array(message.slice(8, headBytes).buffer);
  const pairRows = head.subarray(0, pairs);
  const pairSlots = head.subarray(pairs);
  const outside = (limit: number) => (index: number) => index < 0 || index >= limit;
  if (pairRows.some(outside(rows)) || pairSlots.some(outside(slots))) {
    throw new DispatchError(`a pair points outside ${rows} rows or ${slots} experts`);
  }
  return { rows, pairRows, pairSlots, operand: message.subarray(headBytes) };
}

/** Puts received rows behind each other into one operand, starting at `row`. */
export function placeRows(out: Operand, row: number, received: ReceivedRows): void {
  const { values, scales } = operandRowBytes(out);
  const valueBytes = received.rows * values;
  bytesOf(out.values).set(received.operand.subarray(0, valueBytes), row * values);
  bytesOf(out.scales).set(received.operand.subarray(valueBytes), row * scales);
}

/** Rows as bytes that share their memory. */
export function storedBytes(rows: StoredRows, from: number, to: number): Uint8Array {
  return bytesOf(rows.subarray(from, to));
}
