import assert from "node:assert/strict";
import { after, test } from "node:test";
import { gaussian, randomSource } from "../inputs/index.ts";
import { createOperand, createStoredRows } from "../quantize.ts";
import type { Stream } from "../stream.ts";
import { WeightFolder } from "../testing/weight-folder.ts";
import { weightFormats } from "../weight-format.ts";
import type { Weight } from "../weight.ts";
import { WeightReader } from "../weight-reader.ts";
import { createReferenceKernels } from "./reference.ts";

const folder = new WeightFolder();
after(() => folder.remove());
const stream = createReferenceKernels().createStream("int8");

function quantized(on: Stream, weight: Weight, x: Float32Array, rows: number) {
  const operand = createOperand(on.operandFormat(weight), rows, weight.shape[1]);
  on.quantize(operand, x, rows);
  assert.ok(operand.format === "int8");
  return operand;
}

test("int8 rows have codes within 127 of a scale for each 128 inputs, and the inverse is rounded", () => {
  const { weight } = folder.create(randomSource(1), "I8", [1, 200]);
  const x = gaussian(randomSource(2), 400, 3);
  x[5] = -11;
  x[130] = NaN;
  x.fill(0, 200, 328);
  const { values, scales } = quantized(stream, weight, x, 2);
  const largest = x.slice(0, 128).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  assert.equal(scales[0], Math.fround(largest / 127));
  assert.ok(Number.isNaN(scales[1]));
  assert.equal(scales[2], Math.fround(Math.fround(1e-4) / 127));
  const inverse = Math.fround(127 / largest);
  x.slice(0, 128).forEach((value, i) => {
    const exact = Math.fround(value * inverse);
    assert.ok(Math.abs(values[i]) <= 127 && Math.abs(values[i] - exact) <= 0.5, `${exact}`);
  });
  const halves = Float32Array.of(127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5);
  const half = createOperand("int8", 1, halves.length);
  stream.quantize(half, halves, 1);
  assert.deepEqual([...half.values], [127, 0, 2, 2, 0, -2, -2]);
});

test("blocks are summed exactly and promoted in float32, each result rounded", () => {
  for (const block of weightFormats.I8.scaleBlocks) {
    const random = randomSource(3);
    const [rows, outputs, columns] = [3, 130, 300];
    const { weight } = folder.create(random, "I8", [outputs, columns], block);
    const x = quantized(stream, weight, gaussian(random, rows * columns), rows);
    const out = new Float32Array(rows * outputs);
    stream.gemm(out, x, weight, rows);

    const codes = new WeightReader().load(weight);
    const weightScales = new WeightReader().vector(weight.scale!);
    const scaleColumns = weight.scale!.shape[1];
    const expected = Float32Array.from(out, (_, i) => {
      const [m, n] = [Math.floor(i / outputs), i % outputs];
      let total = 0;
      for (let k = 0; k < columns; k += 128) {
        let sum = 0n;
        for (let j = k; j < Math.min(k + 128, columns); j++) {
          sum += BigInt(x.values[m * columns + j]) * BigInt(codes.row(n)[j]);
        }
        const at = Math.floor(n / block[0]) * scaleColumns + Math.floor(k / block[1]);
        const scale = Math.fround(x.scales[m * 3 + k / 128] * weightScales[at]);
        total = Math.fround(total + Math.fround(Number(sum) * scale));
      }
      return total;
    });
    assert.deepEqual(out, expected, `scales for ${block.join(" × ")}`);
  }
});

test("INT4's groups are scaled and added up before the row's scale", () => {
  for (const block of weightFormats.I4.scaleBlocks) {
    const random = randomSource(7);
    const [rows, outputs, columns] = [2, 20, 300];
    const { weight, values } = folder.create(random, "I4", [outputs, columns], block);
    const x = quantized(stream, weight, gaussian(random, rows * columns), rows);
    const out = new Float32Array(rows * outputs);
    stream.gemm(out, x, weight, rows);
    const scales = new WeightReader().vector(weight.scale!);
    const [, scaleColumns] = weight.scale!.shape;
    const expected = Float32Array.from(out, (_, i) => {
      const [m, n] = [Math.floor(i / outputs), i % outputs];
      let total = 0;
      for (let k = 0; k < columns; k += 128) {
        let groups = 0;
        for (let from = k; from < Math.min(k + 128, columns); from += block[1]) {
          const scale = scales[n * scaleColumns + Math.floor(from / block[1])];
          let sum = 0;
          for (let j = from; j < Math.min(from + block[1], columns); j++) {
            sum += x.values[m * columns + j] * Math.round(values[n * columns + j] / scale);
          }
          groups = Math.fround(groups + Math.fround(sum * scale));
        }
        total = Math.fround(total + Math.fround(groups * x.scales[m * 3 + k / 128]));
      }
      return total;
    });
    assert.deepEqual(out, expected, `groups of ${block[1]}`);
  }
});

test("grouped rows have the bits of their own products, and float rows take INT8 weights, too", () => {
  const random = randomSource(4);
  const [rows, outputs, columns] = [5, 20, 160];
  const weights = [0, 1].map(() => folder.create(random, "I8", [outputs, columns]));
  const values = gaussian(random, rows * columns);
  const x = quantized(stream, weights[0].weight, values, rows);
  const grouped = createStoredRows("bf16", rows * outputs);
  const groups = { starts: Int32Array.of(0, 2, rows), sources: new Int32Array(0) };
  const handles = weights.map(({ weight }) => weight);
  stream.groupedGemm(grouped, x, handles, groups, rows);
  for (const [group, { weight, values: exact }] of weights.entries()) {
    const whole = new Float32Array(rows * outputs);
    stream.gemm(whole, x, weight, rows);
    const stored = createStoredRows("bf16", rows * outputs);
    const rounded = createOperand("bf16", rows, outputs);
    stream.quantize(rounded, whole, rows);
    stored.set(rounded.values);
    const [from, to] = [group === 0 ? 0 : 2, group === 0 ? 2 : rows].map((row) => row * outputs);
    assert.deepEqual(grouped.subarray(from, to), stored.subarray(from, to));

    const plain = createReferenceKernels().createStream("f32");
    const input = createOperand(plain.operandFormat(weight), rows, columns);
    plain.quantize(input, values, rows);
    plain.gemm(whole, input, weight, rows);
    whole.forEach((value, i) => {
      const [m, n] = [Math.floor(i / outputs), i % outputs];
      let expected = 0;
      for (let k = 0; k < columns; k++)
        expected += values[m * columns + k] * exact[n * columns + k];
      assert.ok(Math.abs(value - expected) < 1e-3, `${value}, ${expected}`);
    });
  }
});

test("scales whose shape fits no block, and float weights for INT8 rows, are refused by name", () => {
  const { weight } = folder.create(randomSource(5), "I8", [300, 256]);
  const x = quantized(stream, weight, new Float32Array(256), 1);
  const out = new Float32Array(300);
  const strange = { ...weight, scale: { ...weight.scale!, shape: [100, 6] } };
  assert.throws(
    () => stream.gemm(out, x, strange, 1),
    /weight-\d+: scales \[100, 6\] fit no block of I8/,
  );
  const { weight: halves } = folder.create(randomSource(6), "BF16", [300, 256]);
  assert.throws(() => stream.gemm(out, x, halves, 1), /INT8 rows need integer weights/);
});
