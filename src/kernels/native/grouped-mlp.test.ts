import assert from "node:assert/strict";
import { after, test } from "node:test";
import { groupedGemmInputs } from "../inputs/index.ts";
import { policies, precisions, type Policy } from "../policy.ts";
import { createOperand, createStoredRows } from "../quantize.ts";
import type { ExpertWeights, RowGroups, Stream } from "../stream.ts";
import { backends } from "../testing/fixtures.ts";
import { WeightFolder } from "../testing/weight-folder.ts";

const folder = new WeightFolder();
after(() => folder.remove());

const [ROWS, HIDDEN, WIDTH, EXPERTS] = [5, 131, 70, 4];
/** Of the second expert none, of the last more than of any other. */
const groups: RowGroups = {
  starts: Int32Array.of(0, 2, 2, 3, 8),
  sources: Int32Array.of(4, 0, 2, 1, 3, 0, 4, 1),
  places: new Int32Array(0),
};
const PAIRS = 8;

function inputs(policy: Policy) {
  const weightsOf = (seed: number, outputs: number, columns: number) =>
    groupedGemmInputs(
      { folder, policy, seed },
      { rows: ROWS, outputs, columns, dtype: "F8_E4M3", experts: EXPERTS },
    );
  const { weights: gate, x } = weightsOf(1, WIDTH, HIDDEN);
  const weights: ExpertWeights = {
    ...{ gate, up: weightsOf(2, WIDTH, HIDDEN).weights },
    down: weightsOf(3, HIDDEN, WIDTH).weights,
  };
  return { weights, x };
}

/** Memory for more pairs than there are. */
function buffersOf(stream: Stream, { gate, down }: ExpertWeights) {
  const pairs = PAIRS + 3;
  const between = {
    pairs,
    sorted: createOperand(stream.operandFormat(gate[0]), pairs, HIDDEN),
    gate: new Float32Array(pairs * WIDTH),
    up: new Float32Array(pairs * WIDTH),
    product: createOperand(stream.operandFormat(down[0]), pairs, WIDTH),
  };
  return { out: createStoredRows(precisions[stream.policy].rows, pairs * HIDDEN), between };
}

for (const { name, create } of backends) {
  test(`${name}: the experts' MLP has the bits of its parts, for the pairs that were counted`, async () => {
    for (const policy of policies) {
      const stream = create().createStream(policy);
      const { weights, x } = inputs(policy);
      const [whole, parts] = [0, 1].map(() => buffersOf(stream, weights));
      stream.groupedMlp(whole.out, x, weights, groups, whole.between);
      const { sorted, gate, up, product } = parts.between;
      stream.gather(sorted, x, groups.sources, PAIRS);
      stream.groupedGemm(gate, sorted, weights.gate, groups, PAIRS);
      stream.groupedGemm(up, sorted, weights.up, groups, PAIRS);
      stream.siluMultiply(gate, gate, up, PAIRS * WIDTH);
      stream.quantize(product, gate, PAIRS);
      stream.groupedGemm(parts.out, product, weights.down, groups, PAIRS);
      await stream.fence();
      assert.deepEqual(whole.out, parts.out);
      assert.ok(whole.out.subarray(0, HIDDEN).some((value) => value !== 0));
      assert.ok(whole.out.subarray(PAIRS * HIDDEN).every((value) => value === 0));
      stream.close();
    }
  });
}
