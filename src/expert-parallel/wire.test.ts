import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createOperand, type Operand } from "../kernels/index.ts";
import {
  decodeDispatch,
  DispatchError,
  encodeDispatch,
  placeRows,
  rowBytesOf,
  type DispatchPart,
} from "./wire.ts";

const COLUMNS = 200;
const LIMITS = { ranks: 4, slots: 4 };

function operandOf(format: "f32" | "bf16" | "fp8", rows: number) {
  const operand = createOperand(format, rows, COLUMNS);
  operand.values.forEach((_, i) => (operand.values[i] = (i * 7) % 251));
  if (operand.format === "fp8") operand.scales.forEach((_, i) => (operand.scales[i] = i + 0.5));
  return operand;
}

const part: DispatchPart = {
  rows: [1, 4],
  pairRows: Int32Array.of(1, 1, 0),
  pairSlots: Int32Array.of(0, 2, 3),
};
const otherPart: DispatchPart = {
  rows: [0, 4],
  pairRows: Int32Array.of(1, 0),
  pairSlots: Int32Array.of(1, 1),
};

function encode(input: Operand, ...parts: [rank: number, part: DispatchPart][]) {
  const message = { source: 2, bytes: rowBytesOf(input), parts: new Map(parts) };
  const { rows, parts: bytes } = encodeDispatch(message, input);
  return { rows, message: Uint8Array.from(Buffer.concat(bytes)) };
}

const valuesOf = ({ values }: Operand, row: number) =>
  values.slice(row * COLUMNS, (row + 1) * COLUMNS);

test("rows arrive with the bits they left with, in every operand format", () => {
  for (const format of ["f32", "bf16", "fp8"] as const) {
    const sent = operandOf(format, 5);
    const { source, bytes, parts } = decodeDispatch(encode(sent, [1, part]).message, sent, LIMITS);
    assert.equal(source, 2);
    const received = parts.get(1);
    assert.ok(received);
    assert.deepEqual(received.pairRows, part.pairRows);
    assert.deepEqual(received.pairSlots, part.pairSlots);
    const placed = createOperand(format, 3, COLUMNS);
    placeRows(placed, 1, received.rows, bytes);
    for (const [i, row] of [1, 4].entries()) {
      assert.deepEqual(valuesOf(placed, i + 1), valuesOf(sent, row));
      if (placed.format !== "fp8" || sent.format !== "fp8") continue;
      const scales = (x: typeof sent, at: number) => x.scales.slice(2 * at, 2 * at + 2);
      assert.deepEqual(scales(placed, i + 1), scales(sent, row));
    }
  }
});

test("a row for two ranks is in their message once, and both find it", () => {
  const sent = operandOf("bf16", 5);
  const { rows, message } = encode(sent, [1, part], [3, otherPart]);
  assert.equal(rows, 3);
  const { bytes, parts } = decodeDispatch(message, sent, LIMITS);
  for (const [rank, { rows: wanted }] of [
    [1, part],
    [3, otherPart],
  ] as const) {
    const placed = createOperand("bf16", 2, COLUMNS);
    placeRows(placed, 0, parts.get(rank)?.rows ?? [], bytes);
    for (const [i, row] of Array.from(wanted).entries()) {
      assert.deepEqual(valuesOf(placed, i), valuesOf(sent, row), `row ${row} of rank ${rank}`);
    }
  }
});

test("a message cut anywhere, or one that points outside, is refused", () => {
  const like = operandOf("bf16", 5);
  const refused = (message: Uint8Array, limits = LIMITS) =>
    assert.throws(() => decodeDispatch(message, like, limits), DispatchError);
  const { message } = encode(like, [1, part], [3, otherPart]);
  fc.assert(fc.property(fc.nat(message.length - 1), (length) => refused(message.slice(0, length))));
  // Any word of the head that is negative or beyond what there is.
  for (let word = 0; word < 9; word++) {
    for (const value of [-1, 1 << 30]) {
      const wrong = message.slice();
      new Int32Array(wrong.buffer)[word] = value;
      refused(wrong);
    }
  }
  refused(message, { ranks: 4, slots: 3 });
  refused(message, { ranks: 3, slots: 4 });
  refused(encode(like, [1, { ...part, pairRows: Int32Array.of(0, 1, 2) }]).message);
});
