import assert from "node:assert/strict";
import { test } from "node:test";
import { backends } from "./testing/fixtures.ts";
import { e4m3Values, toBf16 } from "./float-formats.ts";
import { gaussian, randomSource } from "./inputs/index.ts";
import { scaleFormats, type ScaleFormat } from "./policy.ts";
import { createOperand, storedOperand } from "./quantize.ts";
import { createQuantizedWeight } from "./quantize-weight.ts";
import { createReferenceKernels } from "./reference/reference.ts";
import type { Operand } from "./operand-format.ts";
import type { Kernels, QuantizedWeight } from "./stream.ts";

const reference = createReferenceKernels();

/** Values over many binades, zeros and whole blocks of zeros among them. */
function rareValues(seed: number, count: number): Float32Array {
  const random = randomSource(seed);
  return gaussian(random, count).map((x, i) => {
    if (i % 11 === 0 || Math.floor(i / 4096) % 3 === 1) return i % 2 === 0 ? 0 : -0;
    return x * 10 ** Math.floor(random() * 6 - 4);
  });
}

function weightRows(format: "f32" | "bf16", values: Float32Array, columns: number): Operand {
  return storedOperand(format === "f32" ? values : Uint16Array.from(values, toBf16), columns);
}

async function quantizeWeight(kernels: Kernels, scales: ScaleFormat, x: Operand, rows: number) {
  const out = createQuantizedWeight("F8_E4M3", rows, x.columns);
  const stream = kernels.createStream("w8a8", scales);
  stream.quantizeWeight(out, x, rows);
  await stream.fence();
  stream.close();
  return out;
}

/** Codes and scales bit for bit; errors to the precision of their sums. */
function assertSame(actual: QuantizedWeight, expected: QuantizedWeight): void {
  assert.deepEqual({ ...actual, errors: [] }, { ...expected, errors: [] });
  expected.errors.forEach((error, i) => {
    const difference = Math.abs(actual.errors[i] - error);
    assert.ok(difference <= 1e-4 * error, `${actual.errors[i]}, ${error}`);
  });
}

for (const { name, create } of backends) {
  for (const scales of scaleFormats) {
    test(`${name} quantises rows and weights with ${scales} scales as the reference does`, async () => {
      const sizes = [
        [0, 5],
        [1, 7],
        [128, 128],
        [130, 300],
        [257, 129],
      ];
      for (const [rows, columns] of sizes) {
        const values = rareValues(rows + columns, rows * columns);
        const rowsOf = async (kernels: Kernels) => {
          const out = createOperand("fp8", rows, columns);
          const stream = kernels.createStream("w8a8", scales);
          stream.quantize(out, values, rows);
          await stream.fence();
          stream.close();
          return out;
        };
        assert.deepEqual(await rowsOf(create()), await rowsOf(reference));
        for (const format of ["f32", "bf16"] as const) {
          const x = weightRows(format, values, columns);
          const expected = await quantizeWeight(reference, scales, x, rows);
          assertSame(await quantizeWeight(create(), scales, x, rows), expected);
        }
      }
    });
  }

  test(`${name} marks a block of a weight that holds a value that is no number`, async () => {
    for (const value of [NaN, Infinity, -Infinity]) {
      const values = new Float32Array(130 * 200).fill(0.5);
      values[129 * 200 + 3] = value;
      const x = weightRows("f32", values, 200);
      const { scales } = await quantizeWeight(create(), "f32", x, 130);
      assert.deepEqual(Array.from(scales, Number.isNaN), [false, false, true, false]);
    }
  });

  test(`${name} marks a block of a row that holds a value that is no number, and no other`, async () => {
    for (const value of [NaN, Infinity, -Infinity]) {
      const values = new Float32Array(2 * 300).fill(0.5);
      values[300 + 131] = value;
      const stream = create().createStream("w8a8");
      const out = createOperand("fp8", 2, 300);
      stream.quantize(out, values, 2);
      await stream.fence();
      stream.close();
      assert.ok(out.format === "fp8");
      const marked = Array.from(out.scales, Number.isNaN);
      assert.deepEqual(marked, [false, false, false, false, true, false]);
    }
  });
}

test("a quantised weight is within half a step of what it was", async () => {
  const [rows, columns] = [300, 200];
  const values = rareValues(3, rows * columns);
  for (const scales of scaleFormats) {
    const x = weightRows("f32", values, columns);
    const out = await quantizeWeight(reference, scales, x, rows);
    values.forEach((value, i) => {
      const [row, column] = [Math.floor(i / columns), i % columns];
      const scale = out.scales[(row >> 7) * Math.ceil(columns / 128) + (column >> 7)];
      const error = Math.abs(e4m3Values[out.values[i]] * scale - value);
      // Three bits of mantissa, or steps of 2^-9 below the smallest normal code.
      const step = Math.max(Math.abs(value) * 2 ** -4, scale * 2 ** -10);
      assert.ok(error <= step * (1 + 1e-6), `${value} became ${e4m3Values[out.values[i]] * scale}`);
    });
  }
});

test("a power-of-two scale is the least that holds its block", async () => {
  const random = randomSource(5);
  for (let i = 0; i < 200; i++) {
    const exact = i % 4 === 0 ? 448 * 2 ** (i / 4 - 20) : 10 ** (random() * 8 - 4);
    const x = weightRows("f32", Float32Array.of(exact), 1);
    const { scales } = await quantizeWeight(reference, "ue8m0", x, 1);
    assert.ok(Number.isInteger(Math.log2(scales[0])), `${scales[0]}`);
    assert.ok(x.values[0] / scales[0] <= 448 && x.values[0] / scales[0] > 224);
  }
});
