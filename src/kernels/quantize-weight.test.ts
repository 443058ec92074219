import assert from "node:assert/strict";
import { test } from "node:test";
import { roundBf16, toBf16 } from "./float-formats.ts";
import { gaussian, randomSource } from "./inputs/index.ts";
import type { Operand } from "./operand-format.ts";
import { createOperand, storedOperand } from "./quantize.ts";
import { createQuantizedWeight } from "./quantize-weight.ts";
import { createReferenceKernels } from "./reference/reference.ts";
import type { Kernels, QuantizedDtype, QuantizedWeight } from "./stream.ts";
import { backends } from "./testing/fixtures.ts";
import { weightFormats, type ScaleBlock } from "./weight-format.ts";

const reference = createReferenceKernels();

/** Values over many binades, with zeros, blocks of zeros, and halves of steps among them. */
function rareValues(seed: number, count: number): Float32Array {
  const random = randomSource(seed);
  return gaussian(random, count).map((x, i) => {
    if (i % 11 === 0 || Math.floor(i / 512) % 3 === 1) return i % 2 === 0 ? 0 : -0;
    if (i % 7 === 0) return Math.round(2 * x) / 2;
    return x * 10 ** Math.floor(random() * 6 - 4);
  });
}

async function quantizeWeight(
  kernels: Kernels,
  dtype: QuantizedDtype,
  block: ScaleBlock,
  x: Operand,
  rows: number,
): Promise<QuantizedWeight> {
  const out = createQuantizedWeight(dtype, rows, x.columns, block);
  const stream = kernels.createStream("int8");
  stream.quantizeWeight(out, x, rows);
  await stream.fence();
  stream.close();
  return out;
}

/** Codes' values, read without the reference's own decoding. */
function valuesOf({ dtype, block, values, scales }: QuantizedWeight, columns: number) {
  const scaleColumns = Math.ceil(columns / block[1]);
  const bytesPerRow = dtype === "I4" ? 4 * Math.ceil(columns / 8) : columns;
  const rows = values.length / bytesPerRow;
  return Float64Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const byte = values[row * bytesPerRow + (dtype === "I4" ? column >> 1 : column)];
    const code = dtype === "I4" ? ((byte >> (4 * (column & 1))) & 15) - 8 : (byte << 24) >> 24;
    return code * scales[row * scaleColumns + Math.floor(column / block[1])];
  });
}

const integerFormats = (["I8", "I4"] as const).flatMap((dtype) =>
  weightFormats[dtype].scaleBlocks
    .filter(([rows, columns]) => rows === 1 && columns <= 128)
    .map((block) => ({ dtype, block, name: `${dtype} in groups of ${block[1]}` })),
);

for (const { dtype, block, name } of integerFormats) {
  test(`${name} is within half a step of what it was, and the error told is the error made`, async () => {
    const [rows, columns] = [9, 300];
    const x = rareValues(3, rows * columns);
    const out = await quantizeWeight(reference, dtype, block, storedOperand(x, columns), rows);
    const rounded = valuesOf(out, columns);
    const errors = new Float64Array(2 * rows);
    const scaleColumns = Math.ceil(columns / block[1]);
    x.forEach((value, i) => {
      const [row, column] = [Math.floor(i / columns), i % columns];
      const scale = Math.abs(out.scales[row * scaleColumns + Math.floor(column / block[1])]);
      errors[2 * row] += (value - rounded[i]) ** 2;
      errors[2 * row + 1] += value ** 2;
      // INT4's scale is rounded to BF16, and its codes reach one step less to one side.
      const most = dtype === "I8" ? 0.5001 : 1.04;
      assert.ok(Math.abs(value - rounded[i]) <= most * scale, `${value} became ${rounded[i]}`);
    });
    out.errors.forEach((error, i) => assert.ok(Math.abs(error - errors[i]) <= 1e-6 * errors[i]));
    if (dtype === "I4") assert.deepEqual(out.scales, out.scales.map(roundBf16));
  });

  test(`${name} marks a block that holds a value that is no number`, async () => {
    for (const { create } of backends) {
      const x = new Float32Array(2 * 300).fill(0.5);
      x[300 + 131] = NaN;
      x[7] = -Infinity;
      const { scales } = await quantizeWeight(create(), dtype, block, storedOperand(x, 300), 2);
      const marked = Array.from(scales.keys()).filter((i) => Number.isNaN(scales[i]));
      const blocks = Math.ceil(300 / block[1]);
      assert.deepEqual(marked, [0, blocks + Math.floor(131 / block[1])]);
    }
  });

  for (const { name: backend, create } of backends) {
    test(`${backend} quantises weights to ${name} as the reference does`, async () => {
      for (const [rows, columns] of [
        [0, 6],
        [1, 7],
        [130, 300],
        [70, 1152],
      ]) {
        const values = rareValues(rows + columns, rows * columns);
        const halves = Uint16Array.from(values, toBf16);
        for (const x of [storedOperand(values, columns), storedOperand(halves, columns)]) {
          const expected = await quantizeWeight(reference, dtype, block, x, rows);
          const actual = await quantizeWeight(create(), dtype, block, x, rows);
          assert.deepEqual({ ...actual, errors: [] }, { ...expected, errors: [] });
          expected.errors.forEach((error, i) => {
            const difference = Math.abs(actual.errors[i] - error);
            assert.ok(difference <= 1e-4 * error, `${actual.errors[i]}, ${error}`);
          });
        }
      }
    });
  }
}

test("INT8 weights are rounded as INT8 rows are", async () => {
  const values = rareValues(8, 3 * 200).map((x) => x + Math.sign(x));
  const rows = createOperand("int8", 3, 200);
  const stream = reference.createStream("int8");
  stream.quantize(rows, values, 3);
  const out = await quantizeWeight(reference, "I8", [1, 128], storedOperand(values, 200), 3);
  const largest = (from: number, to: number) =>
    values.slice(from, to).reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  // A block of nothing but zeros has a floor of its own.
  assert.ok(largest(0, 128) > 1e-4 && largest(128, 200) > 1e-4);
  assert.deepEqual(out.scales.subarray(0, 2), rows.scales.subarray(0, 2));
  assert.deepEqual(Int8Array.from(out.values.subarray(0, 200)), rows.values.slice(0, 200));
});
