import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { operandRowBytes } from "./operand-format.ts";
import { createOperand } from "./quantize.ts";
import { createReferenceKernels } from "./reference/index.ts";
import { gaussian, randomSource } from "./inputs/index.ts";
import {
  codeBytes,
  scaleBlockOf,
  scaleShape,
  weightFormats,
  type WeightDtype,
  type WeightFormat,
} from "./weight-format.ts";
import type { Weight } from "./weight.ts";

const directory = mkdtempSync(join(tmpdir(), "daysix-formats-"));
after(() => rmSync(directory, { recursive: true, force: true }));

test("sizes follow from the formats", () => {
  assert.equal(codeBytes("F8_E4M3", [300, 200]), 60_000);
  assert.equal(codeBytes("BF16", [7]), 14);
  assert.deepEqual(scaleShape("F8_E4M3", [300, 200]), [3, 2]);
  assert.deepEqual(scaleShape("F8_E4M3", [129]), [2]);
  assert.equal(scaleShape("BF16", [300, 200]), undefined);
  assert.deepEqual(scaleShape("I8", [300, 200]), [300, 2]);
  assert.equal(codeBytes("I4", [3, 9]), 24);
  assert.deepEqual(scaleShape("I4", [300, 200]), [300, 7]);
  assert.deepEqual(operandRowBytes({ format: "fp8", columns: 200 }), { values: 200, scales: 8 });
  assert.deepEqual(operandRowBytes({ format: "int8", columns: 200 }), { values: 200, scales: 8 });
  assert.deepEqual(operandRowBytes({ format: "bf16", columns: 200 }), { values: 400, scales: 0 });
});

test("what shares a scale follows from the scales' shape", () => {
  const blockOf = (...scales: number[]) => scaleBlockOf("I8", [300, 200], scales);
  assert.deepEqual(blockOf(300, 2), [1, 128]);
  assert.deepEqual(blockOf(3, 2), [128, 128]);
  assert.deepEqual(blockOf(300, 1), [1, Infinity]);
  assert.equal(blockOf(300, 7), undefined);
  assert.deepEqual(scaleBlockOf("F8_E4M3", [129], [1, 2]), [128, 128]);
});

/** Four bits a code, a scale for 32 columns of one row, codes from −8 to 7. */
const fourBits: WeightFormat = {
  valueBits: 4,
  rowAlignment: 1,
  scaleBlocks: [[1, 32]],
  scaleTypes: ["F32"],
  zeroPoint: 8,
  decode: (out, bytes) => {
    const codes = new Uint8Array(bytes);
    for (let i = 0; i < out.length; i++) out[i] = (codes[i >> 1] >> (4 * (i & 1))) & 15;
  },
};

test("the reference computes with a format by its data alone", async () => {
  const dtype = "TEST_4" as WeightDtype;
  (weightFormats as Record<string, WeightFormat>)[dtype] = fourBits;
  const shape = { heads: 2, nope: 3, rope: 2, value: 2, latent: 96, scale: 1 };
  const { heads, nope, rope, value, latent: columns } = shape;
  const rows = heads * (nope + value);
  const random = randomSource(5);
  const codes = Uint8Array.from({ length: (rows * columns) / 2 }, () => Math.floor(random() * 256));
  const scales = Float32Array.from({ length: (rows * columns) / 32 }, () => 0.01 + random());
  const weight: Weight = {
    ...{ name: "four", dtype, shape: [rows, columns], file: join(directory, "four"), offset: 0 },
    scale: {
      ...{ name: "s", dtype: "F32", offset: 0 },
      file: join(directory, "s"),
      shape: [10, 3],
    },
  };
  writeFileSync(weight.file, codes);
  writeFileSync(join(directory, "s"), new Uint8Array(scales.buffer));
  const weightAt = (row: number, column: number) => {
    const at = row * columns + column;
    return (((codes[at >> 1] >> (4 * (at & 1))) & 15) - 8) * scales[at >> 5];
  };

  const stream = createReferenceKernels().createStream("f32");
  const values = gaussian(random, columns);
  const x = createOperand(stream.operandFormat(weight), 1, columns);
  stream.quantize(x, values, 1);
  const out = new Float32Array(rows);
  stream.gemm(out, x, weight, 1);
  const q = gaussian(random, heads * (nope + rope));
  const absorbed = new Float32Array(heads * columns);
  stream.absorbQuery(absorbed, q, weight, shape, 1);
  await stream.fence();

  for (let row = 0; row < rows; row++) {
    const expected = values.reduce((sum, v, column) => sum + v * weightAt(row, column), 0);
    assert.ok(Math.abs(out[row] - expected) < 1e-4, `row ${row}: ${out[row]}, ${expected}`);
  }
  for (let head = 0; head < heads; head++) {
    for (let c = 0; c < columns; c++) {
      const from = head * (nope + rope);
      const product = (j: number) => q[from + j] * weightAt(head * (nope + value) + j, c);
      const expected = product(0) + product(1) + product(2);
      assert.ok(Math.abs(absorbed[head * columns + c] - expected) < 1e-4, `${head}, ${c}`);
    }
  }
});
