import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { after, test } from "node:test";
import { gaussian, randomSource } from "../inputs/index.ts";
import type { Int4Packing } from "../int4-packing.ts";
import { createOperand } from "../quantize.ts";
import { createReferenceKernels } from "../reference/index.ts";
import type { Kernels } from "../stream.ts";
import { WeightFolder } from "../testing/weight-folder.ts";
import type { Weight } from "../weight.ts";
import { createNativeKernels, instructionSets, nativeProblem } from "./native.ts";

const folder = new WeightFolder();
after(() => folder.remove());

const outputs = 72;
const group = 128;

/** Random codes, zero points and scales behind each other, in an order of checkpoints. */
function weightOf(order: Int4Packing["order"], inputs: number): Weight {
  const groups = Math.ceil(inputs / group);
  const random = randomSource(7);
  const { weight: scales } = folder.create(random, "BF16", [groups, outputs]);
  const file = `${scales.file}-${order}`;
  const codeBytes = (outputs * inputs) / 2;
  const zeroBytes = (outputs * groups) / 2;
  const bytes = Uint8Array.from({ length: codeBytes + zeroBytes }, () => random() * 256);
  writeFileSync(file, bytes);
  const shape = order === "rows" ? [outputs, groups] : [groups, outputs];
  return {
    ...{ name: `${order} weight`, dtype: "I4", shape: [outputs, inputs], file, offset: 0 },
    scale: { ...scales, shape },
    packing: {
      order,
      zeroPoints: { name: "zero points", file, offset: codeBytes },
      zeroPointBias: order === "gptq" ? 1 : 0,
    },
  };
}

async function product(kernels: Kernels, weight: Weight): Promise<Float32Array> {
  const rows = 13;
  const [, inputs] = weight.shape;
  const stream = kernels.createStream("int8");
  const x = createOperand("int8", rows, inputs);
  const out = new Float32Array(rows * outputs);
  stream.quantize(x, gaussian(randomSource(8), rows * inputs), rows);
  stream.gemm(out, x, weight, rows);
  await stream.fence();
  stream.close();
  return out;
}

for (const order of ["rows", "gptq", "awq"] as const) {
  test(
    `INT4 weights with zero points in ${order} order have the reference's bits on every instruction set`,
    { skip: nativeProblem() ?? false },
    async () => {
      for (const inputs of [384, 320]) {
        const weight = weightOf(order, inputs);
        const expected = await product(createReferenceKernels(), weight);
        for (const instructionSet of instructionSets()) {
          const kernels = createNativeKernels({ instructionSet });
          assert.deepEqual(await product(kernels, weight), expected, `${instructionSet} ${inputs}`);
        }
      }
    },
  );
}
