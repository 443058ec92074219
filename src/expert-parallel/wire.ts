import { operandRowBytes, type Operand, type StoredRows } from "../kernels/index.ts";
import type { DispatchPart } from "./layout.ts";

/** A dispatch message that does not say what it should. */
export class DispatchError extends Error {
  override readonly name = "DispatchError";
}

/** Rows received of one rank: matmul inputs as that rank rounded them, and the experts they chose. */
export interface ReceivedRows {
  readonly rows: number;
  /** [pairs] */
  readonly pairRows: Int32Array;
  readonly pairSlots: Int32Array;
  /** Bytes of the operand's values, then of its scales. */
  readonly operand: Uint8Array;
}

const bytesOf = (array: ArrayBufferView) =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** One message: counts, pairs, then the rows exactly as the policy rounds them. */
export function encodeDispatch(part: DispatchPart, input: Operand): Uint8Array {
  const { values, scales } = operandRowBytes(input);
  const pairs = part.pairRows.length;
  const head = new Int32Array(2 + 2 * pairs);
  head.set([part.rows.length, pairs]);
  head.set(part.pairRows, 2);
  head.set(part.pairSlots, 2 + pairs);
  const message = new Uint8Array(head.byteLength + part.rows.length * (values + scales));
  message.set(bytesOf(head));
  const copyRows = (from: Uint8Array, rowBytes: number, at: number) =>
    part.rows.forEach((row, i) => {
      message.set(from.subarray(row * rowBytes, (row + 1) * rowBytes), at + i * rowBytes);
    });
  copyRows(bytesOf(input.values), values, head.byteLength);
  copyRows(bytesOf(input.scales), scales, head.byteLength + part.rows.length * values);
  return message;
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
