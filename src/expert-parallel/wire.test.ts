import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createOperand } from "../kernels/index.ts";
import { decodeDispatch, DispatchError, encodeDispatch, placeRows } from "./wire.ts";

const COLUMNS = 200;
const SLOTS = 4;

function operandOf(format: "f32" | "bf16" | "fp8", rows: number) {
  const operand = createOperand(format, rows, COLUMNS);
  operand.values.forEach((_, i) => (operand.values[i] = (i * 7) % 251));
  if (operand.format === "fp8") operand.scales.forEach((_, i) => (operand.scales[i] = i + 0.5));
  return operand;
}

const part = {
  rows: [1, 4],
  pairRows: Int32Array.of(1, 1, 0),
  pairSlots: Int32Array.of(0, 2, 3),
};

test("rows arrive with the bits they left with, in every operand format", () => {
  for (const format of ["f32", "bf16", "fp8"] as const) {
    const sent = operandOf(format, 5);
    const received = decodeDispatch(encodeDispatch(part, sent), sent, SLOTS);
    assert.deepEqual(received.pairRows, part.pairRows);
    assert.deepEqual(received.pairSlots, part.pairSlots);
    const placed = createOperand(format, 3, COLUMNS);
    placeRows(placed, 1, received);
    part.rows.forEach((row, i) => {
      const values = (x: typeof sent, at: number) =>
        x.values.slice(at * COLUMNS, (at + 1) * COLUMNS);
      assert.deepEqual(values(placed, i + 1), values(sent, row));
      if (placed.format !== "fp8" || sent.format !== "fp8") return;
      assert.deepEqual(
        placed.scales.slice(2 * (i + 1), 2 * (i + 2)),
        sent.scales.slice(2 * row, 2 * row + 2),
      );
    });
  }
});

test("a message cut anywhere, or one that points outside, is refused", () => {
  const like = operandOf("bf16", 5);
  const message = encodeDispatch(part, like);
  fc.assert(
    fc.property(fc.nat(message.length - 1), (length) => {
      assert.throws(() => decodeDispatch(message.slice(0, length), like, SLOTS), DispatchError);
    }),
  );
  assert.throws(() => decodeDispatch(message, like, 3), DispatchError);
  const outside = encodeDispatch({ ...part, pairRows: Int32Array.of(0, 1, 2) }, like);
  assert.throws(() => decodeDispatch(outside, like, SLOTS), DispatchError);
});
