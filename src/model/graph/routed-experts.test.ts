import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  createOperand,
  gaussian,
  randomSource,
  type ExpertWeights,
  type Policy,
  type Stream,
  type WeightDtype,
} from "../../kernels/index.ts";
import { backends } from "../../kernels/testing/fixtures.ts";
import { WeightFolder } from "../../kernels/testing/weight-folder.ts";
import { GroupedMlp } from "./routed-experts.ts";

const folder = new WeightFolder();
after(() => folder.remove());

const [ROWS, HIDDEN, WIDTH, EXPERTS] = [5, 150, 70, 3];
const groups = {
  starts: Int32Array.of(0, 2, 2, 7),
  sources: Int32Array.of(4, 0, 2, 1, 3, 0, 4),
};
const pairs = groups.sources.length;

function expertsOf(dtype: WeightDtype): ExpertWeights {
  const random = randomSource(dtype.length);
  const create = (...shape: readonly number[]) =>
    Array.from({ length: EXPERTS }, () => folder.create(random, dtype, shape).weight);
  return {
    gate: create(WIDTH, HIDDEN),
    up: create(WIDTH, HIDDEN),
    down: create(HIDDEN, WIDTH),
  };
}

async function outputsOf(stream: Stream, mlp: GroupedMlp, weights: ExpertWeights) {
  const x = createOperand(stream.operandFormat(weights.gate[0]), ROWS, HIDDEN);
  stream.quantize(x, gaussian(randomSource(1), ROWS * HIDDEN), ROWS);
  const out = mlp.compute(x, groups, weights, pairs);
  await stream.fence();
  return out.slice(0, pairs * HIDDEN);
}

/** Formats of experts whose rows are rounded otherwise. */
const formats: readonly (readonly [Policy, readonly WeightDtype[]])[] = [
  ["int8", ["BF16", "I8"]],
  ["w8a8", ["BF16", "F8_E4M3"]],
];

for (const { name, create } of backends) {
  test(`${name}: a layer's experts may be of another format than those of the layer before`, async () => {
    for (const [policy, dtypes] of formats) {
      const stream = create().createStream(policy);
      const layers = dtypes.map(expertsOf);
      const alone = [];
      for (const weights of layers) {
        alone.push(await outputsOf(stream, new GroupedMlp(stream), weights));
      }
      for (const order of [layers, layers.toReversed()]) {
        const mlp = new GroupedMlp(stream);
        for (const weights of order) {
          const expected: unknown = alone[layers.indexOf(weights)];
          assert.deepEqual(await outputsOf(stream, mlp, weights), expected, policy);
        }
      }
      stream.close();
    }
  });
}
