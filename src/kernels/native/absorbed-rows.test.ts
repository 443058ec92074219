import assert from "node:assert/strict";
import { test } from "node:test";
import { allocate } from "../buffers.ts";
import { mlaInputs } from "../inputs/index.ts";
import { loadNative } from "../native-addon.ts";
import { createReferenceKernels } from "../reference/index.ts";
import type { Kernels } from "../stream.ts";
import { WeightFolder } from "../testing/weight-folder.ts";
import { createNativeKernels } from "./native.ts";

const { addon, problem } = loadNative();

// A head's last weight row has no other to pair with, and the second head's rows begin within a block.
const shape = { heads: 2, nope: 131, rope: 4, value: 50, latent: 96, scale: 0.1 };

test("few rows are absorbed as many are", { skip: problem ?? false }, async (t) => {
  const folder = new WeightFolder();
  t.after(() => folder.remove());
  for (const policy of ["int8", "f32"] as const) {
    const sizes = { shape, dtype: "BF16", sequences: [{ context: 3, rows: 9 }] } as const;
    const { q, kvB } = mlaInputs({ folder, policy, seed: 3 }, sizes);
    const absorb = async (kernels: Kernels, rows: number) => {
      const stream = kernels.createStream(policy);
      const out = allocate(Float32Array, rows * shape.heads * shape.latent);
      stream.absorbQuery(out, q, kvB, shape, rows);
      await stream.fence();
      stream.close();
      return out;
    };
    const all = await absorb(createReferenceKernels(), 9);
    for (const instructionSet of addon?.instructionSets ?? []) {
      for (const rows of [1, 2, 3, 5, 8, 9]) {
        const out = await absorb(createNativeKernels({ instructionSet }), rows);
        assert.deepEqual(out, all.slice(0, out.length), `${instructionSet} ${policy} ${rows}`);
      }
    }
  }
});
