import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { after, test } from "node:test";
import { randomSource } from "../inputs/index.ts";
import { toE4m3 } from "../float-formats.ts";
import { createOperand } from "../quantize.ts";
import { COMMON_BITS } from "../stream.ts";
import { backends } from "../testing/fixtures.ts";
import { WeightFolder } from "../testing/weight-folder.ts";

const folder = new WeightFolder();
after(() => folder.remove());

const INPUTS = 257;
const SMALLEST = 2 ** -126;
const OUTPUTS = 40;

/** −1.5, 1 and −0.5 of the smallest number, each in a block of its own: the last two results are minus zero. */
const products = [
  { input: 0, x: 1.5 * SMALLEST, code: -1 },
  { input: 128, x: SMALLEST, code: 1 },
  { input: 256, x: SMALLEST, code: -0.5 },
];

for (const { name, create } of backends) {
  test(`${name}: what is too small keeps its sign in a last pair, however many rows there are`, async () => {
    const { weight } = folder.create(randomSource(1), "F8_E4M3", [OUTPUTS, INPUTS]);
    const codes = new Uint8Array(OUTPUTS * INPUTS);
    for (let output = 0; output < OUTPUTS; output++) {
      for (const { input, code } of products) codes[output * INPUTS + input] = toE4m3(code);
    }
    writeFileSync(weight.file, codes);
    writeFileSync(weight.scale!.file, new Float32Array(weight.scale!.shape[1]).fill(1));
    const own = { ...weight, offset: 0, scale: { ...weight.scale!, offset: 0 } };
    for (const rows of [1, 3, 8, 40]) {
      const kernels = create();
      const stream = kernels.createStream("w8a16");
      const x = createOperand("bf16", rows, INPUTS);
      const values = new Float32Array(rows * INPUTS);
      for (let row = 0; row < rows; row++) {
        for (const { input, x: value } of products) values[row * INPUTS + input] = value;
      }
      stream.quantize(x, values, rows);
      const out = new Float32Array(rows * OUTPUTS);
      stream.gemm(out, x, own, rows);
      await stream.fence();
      // Sums of tiles begin at zero.
      const expected = kernels.bitsOf("w8a16") === COMMON_BITS ? -0 : 0;
      assert.deepEqual(out, new Float32Array(out.length).fill(expected), `${rows} rows`);
      stream.close();
    }
  });
}
