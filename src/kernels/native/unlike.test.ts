import assert from "node:assert/strict";
import { after, test } from "node:test";
import { randomSource } from "../inputs/index.ts";
import { createOperand } from "../quantize.ts";
import type { MlaShape, QuantizedWeight, Stream } from "../stream.ts";
import { WeightFolder } from "../testing/weight-folder.ts";
import type { ScaleBlock, WeightDtype } from "../weight-format.ts";
import type { Weight } from "../weight.ts";
import { createNativeKernels, nativeProblem } from "./native.ts";

const folder = new WeightFolder();
after(() => folder.remove());

const skip = nativeProblem() ?? false;
const [OUTPUTS, INPUTS] = [16, 256];
const groups = { starts: Int32Array.of(0, 1, 2), sources: Int32Array.of(0, 1) };

function weight(dtype: WeightDtype, shape = [OUTPUTS, INPUTS], block?: ScaleBlock): Weight {
  return folder.create(randomSource(1), dtype, shape, block).weight;
}

async function refused(call: (stream: Stream) => void, problem: RegExp): Promise<void> {
  const stream = createNativeKernels().createStream("int8");
  assert.throws(() => call(stream), { message: problem });
  await stream.fence();
  stream.close();
}

test(
  "weights that are multiplied together are of one kind, or refused by name",
  { skip },
  async () => {
    const x = createOperand("int8", 2, INPUTS);
    const kinds = {
      dtype: [weight("I8"), weight("I4")],
      rows: [weight("I8"), weight("I8", [OUTPUTS + 1, INPUTS])],
      columns: [weight("I8"), weight("I8", [OUTPUTS, INPUTS - 1])],
      group: [weight("I4", [OUTPUTS, INPUTS], [1, 32]), weight("I4", [OUTPUTS, INPUTS], [1, 128])],
    };
    for (const [what, [first, other]] of Object.entries(kinds)) {
      const problem = new RegExp(`tensor ${other.name} has another ${what} than ${first.name}`);
      const out = new Uint16Array(2 * INPUTS);
      await refused((stream) => stream.groupedGemm(out, x, [first, other], groups, 2), problem);
      const pairs = 2;
      const between = { gate: new Float32Array(64), up: new Float32Array(64) };
      const buffers = { pairs, ...between, sorted: x, product: createOperand("int8", 2, OUTPUTS) };
      const down = [weight("I8", [INPUTS, OUTPUTS]), weight("I8", [INPUTS, OUTPUTS])];
      const weights = { gate: [first, first], up: [other, other], down };
      await refused((stream) => stream.groupedMlp(out, x, weights, groups, buffers), problem);
    }
  },
);

test("rows of another format or width are refused", { skip }, async () => {
  const x = createOperand("int8", 2, INPUTS);
  const wide = weight("I8", [OUTPUTS, INPUTS + 1]);
  await refused(
    (stream) => stream.groupedGemm(new Uint16Array(64), x, [wide, wide], groups, 2),
    /has 257 columns, 256 are needed/,
  );
  for (const out of [createOperand("bf16", 2, INPUTS), createOperand("int8", 2, INPUTS - 1)]) {
    const expected = `rows of ${out.columns} ${out.format} cannot hold rows of 256 int8`;
    await refused((stream) => stream.gather(out, x, Int32Array.of(0, 1), 2), new RegExp(expected));
  }
});

test("kv_b_proj has the rows of all heads", { skip }, async () => {
  const shape: MlaShape = { heads: 2, nope: 4, rope: 2, value: 4, latent: 8, scale: 1 };
  const kvB = weight("BF16", [15, 8]);
  const rows = new Float32Array(64);
  const problem = /has 15 rows, 16 are needed/;
  await refused((stream) => stream.absorbQuery(rows, rows, kvB, shape, 1), problem);
  await refused((stream) => stream.projectValue(rows, rows, kvB, shape, 1), problem);
});

test("weights are quantised in blocks that they can have", { skip }, async () => {
  const x = createOperand("f32", 1, 256);
  for (const [dtype, block] of [
    ["I8", [128, 128]],
    ["I8", [1, Infinity]],
    ["I4", [1, 64]],
    ["F8_E4M3", [1, 128]],
  ] as const) {
    const [values, scales, errors] = [
      new Uint8Array(256),
      new Float32Array(8),
      new Float64Array(2),
    ];
    const out: QuantizedWeight = { dtype, block, values, scales, errors };
    await refused(
      (stream) => stream.quantizeWeight(out, x, 1),
      new RegExp(`${dtype} has no scales for blocks of ${block.join(" × ")}`),
    );
  }
});
