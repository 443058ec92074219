import assert from "node:assert/strict";
import { after, test } from "node:test";
import { gaussian, randomSource } from "../inputs/index.ts";
import { createOperand } from "../quantize.ts";
import { createReferenceKernels } from "../reference/index.ts";
import type { Kernels } from "../stream.ts";
import { WeightFolder } from "../testing/weight-folder.ts";
import { weightFormats } from "../weight-format.ts";
import type { Weight } from "../weight.ts";
import { createNativeKernels, nativeProblem } from "./native.ts";

const folder = new WeightFolder();
after(() => folder.remove());

async function product(kernels: Kernels, weight: Weight): Promise<Float32Array> {
  const [outputs, columns] = weight.shape;
  const stream = kernels.createStream("int8");
  const x = createOperand(stream.operandFormat(weight), 3, columns);
  const out = new Float32Array(3 * outputs);
  stream.quantize(x, gaussian(randomSource(6), 3 * columns), 3);
  stream.gemm(out, x, weight, 3);
  await stream.fence();
  stream.close();
  return out;
}

test(
  "INT8 weights with the scale blocks of published checkpoints have the reference's bits",
  { skip: nativeProblem() ?? false },
  async () => {
    for (const block of weightFormats.I8.scaleBlocks) {
      const { weight } = folder.create(randomSource(5), "I8", [300, 520], block);
      const expected = await product(createReferenceKernels(), weight);
      assert.deepEqual(await product(createNativeKernels(), weight), expected, block.join(" × "));
    }
  },
);
