import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { createSharedSegments, SharedMemoryTransport } from "../cluster/index.ts";
import { gaussian, randomSource } from "../kernels/index.ts";
import { WeightFolder } from "../kernels/testing/weight-folder.ts";
import {
  createOperand,
  createReferenceKernels,
  policies,
  type ExpertWeights,
  type GateRule,
  type Policy,
} from "../kernels/index.ts";
import { LocalExperts, type ExpertBatch, type RoutedExperts } from "../model/index.ts";
import { nullTracer } from "../trace/index.ts";
import { ParallelExperts } from "./parallel-experts.ts";
import { layerPlacement, orderedPlacement, type LayerPlacement } from "./placement.ts";

const HIDDEN = 24;
const WIDTH = 8;
const EXPERTS = 12;
const TOP_K = 3;
const rule: GateRule = {
  experts: EXPERTS,
  topK: TOP_K,
  scoring: "sigmoid",
  method: "greedy",
  groups: 1,
  topGroups: 1,
  normalise: true,
  scale: 1,
};

const folder = new WeightFolder();
const kernels = createReferenceKernels();
const random = randomSource(3);
const create = (shape: number[]) =>
  Array.from({ length: EXPERTS }, () => folder.create(random, "F8_E4M3", shape).weight);
const weights: ExpertWeights = {
  gate: create([WIDTH, HIDDEN]),
  up: create([WIDTH, HIDDEN]),
  down: create([HIDDEN, WIDTH]),
};

// Shared memory does not keep a thread alive by itself.
let alive: NodeJS.Timeout;
before(() => (alive = setInterval(() => undefined, 1000)));
after(() => {
  clearInterval(alive);
  folder.remove();
});

/** One rank's share of a step. */
interface RankRows {
  readonly rows: number;
  /** [rows, TOP_K] */
  readonly ids: Int32Array;
  /** [rows, HIDDEN] */
  readonly values: Float32Array;
}

/** Each (row, choice)'s expert row, in the order of `ids`, as bytes. */
type Outputs = Buffer;

function inputOf(policy: Policy, { rows, values }: RankRows) {
  const stream = kernels.createStream(policy);
  const input = createOperand(stream.operandFormat(weights.gate[0]), rows, HIDDEN);
  stream.quantize(input, values, rows);
  return { stream, input };
}

function outputsOf({ expertRows, places }: { expertRows: ArrayBufferView; places: Int32Array }) {
  const bytes = Buffer.from(expertRows.buffer, expertRows.byteOffset, expertRows.byteLength);
  const width = (bytes.length / (expertRows as Uint16Array).length) * HIDDEN;
  return Buffer.concat([...places].map((at) => bytes.subarray(at * width, (at + 1) * width)));
}

async function threeActs(experts: RoutedExperts, batch: ExpertBatch) {
  const flight = await experts.dispatch(batch);
  await flight.compute(weights);
  return flight.combine();
}

/** What one process with all experts computes. */
async function oracle(policy: Policy, share: RankRows): Promise<Outputs> {
  const { stream, input } = inputOf(policy, share);
  const local = new LocalExperts(stream, rule, share.rows, nullTracer);
  const output = await threeActs(local, { microBatch: 0, layer: 0, input, ...share });
  return outputsOf({ ...output, places: output.places.subarray(0, share.rows * TOP_K) });
}

async function parallel(policy: Policy, shares: RankRows[], placement: LayerPlacement) {
  const ranks = shares.map((_, rank) => rank);
  const segments = createSharedSegments(ranks, { ringCapacity: 256 });
  const members = ranks.map((rank) => {
    const { stream, input } = inputOf(policy, shares[rank]);
    const transport = new SharedMemoryTransport(segments, rank);
    const experts = new ParallelExperts({
      stream,
      rule,
      hidden: HIDDEN,
      tracer: nullTracer,
      unit: { transport, ranks },
      placementOf: () => placement,
    });
    return { rank, input, transport, experts };
  });
  const outputs: Outputs[] = [];
  for (let layer = 0; layer < 2; layer++) {
    await Promise.all(
      members.map(async ({ rank, input, experts }) => {
        const output = await threeActs(experts, { microBatch: 0, layer, input, ...shares[rank] });
        outputs[rank] = outputsOf(output);
      }),
    );
  }
  for (const { transport } of members) transport.close();
  return { outputs, traffic: members.map(({ experts }) => experts.traffic) };
}

/** Rows whose experts are any, few, or one. */
const shareOf = (choosable: number) =>
  fc
    .array(fc.uniqueArray(fc.nat(choosable - 1), { minLength: TOP_K, maxLength: TOP_K }), {
      maxLength: 9,
    })
    .chain((chosen) => fc.tuple(fc.constant(chosen), fc.nat()))
    .map(([chosen, seed]): RankRows => {
      const ids = Int32Array.from(chosen.flatMap((row) => row.toSorted((a, b) => a - b)));
      const values = gaussian(randomSource(seed), chosen.length * HIDDEN);
      return { rows: chosen.length, ids, values };
    });

/** Every expert once, then replicas of any, shuffled over the ranks. */
const placements = (ranks: number) => {
  const least = Math.ceil(EXPERTS / ranks);
  return fc
    .integer({ min: least, max: least + 3 })
    .chain((slots) => {
      const spare = slots * ranks - EXPERTS;
      const extra = fc.array(fc.nat(EXPERTS - 1), { minLength: spare, maxLength: spare });
      return extra.chain((more) => {
        const all = [...Array(EXPERTS).keys(), ...more];
        return fc.shuffledSubarray(all, { minLength: all.length });
      });
    })
    .map((map) => layerPlacement(map, EXPERTS, ranks));
};

const steps = fc
  .tuple(fc.integer({ min: 1, max: 5 }), fc.constantFrom(TOP_K, 5, EXPERTS))
  .chain(([ranks, choosable]) =>
    fc.record({
      policy: fc.constantFrom(...policies),
      shares: fc.array(shareOf(choosable), { minLength: ranks, maxLength: ranks }),
      placement: placements(ranks),
    }),
  );

test("dispatch and combine give each row the bits of one process, wherever experts lie", () =>
  fc.assert(
    fc.asyncProperty(steps, async ({ policy, shares, placement }) => {
      const { outputs, traffic } = await parallel(policy, shares, placement);
      for (const [rank, share] of shares.entries()) {
        assert.deepEqual(outputs[rank], await oracle(policy, share));
        const sent = traffic[rank].rowsTo.reduce((sum, rows) => sum + rows, 0);
        assert.ok(sent >= 2 * share.rows && sent <= 2 * share.rows * TOP_K);
        const loads = traffic[rank].expertLoads.flat().reduce((sum, load) => sum + load, 0);
        assert.equal(loads, 2 * share.rows * TOP_K);
      }
    }),
    { numRuns: 60 },
  ));

test("a row goes once to a rank, however many of its experts lie there", async () => {
  const share = {
    rows: 2,
    ids: Int32Array.of(0, 1, 2, 3, 4, 11),
    values: gaussian(randomSource(1), 2 * HIDDEN),
  };
  const nobody = { rows: 0, ids: new Int32Array(0), values: new Float32Array(0) };
  const { traffic } = await parallel("w8a16", [nobody, share], orderedPlacement(EXPERTS, 2));
  assert.deepEqual(traffic[1].rowsTo, [4, 2], "two layers of two rows there, of one row here");
  assert.deepEqual(traffic[0].rowsTo, [0, 0]);
});

test("placements that leave an expert out or do not divide are refused", () => {
  assert.throws(() => layerPlacement([0, 1, 1], 3, 3), /logical expert 2 is nowhere/);
  assert.throws(() => layerPlacement([0, 1, 2], 3, 2), /do not divide over 2 ranks/);
  assert.throws(() => layerPlacement([0, 3], 2, 2), /below 2, got 3/);
  assert.deepEqual([...orderedPlacement(16, 3).physicalToLogical.slice(-3)], [15, 0, 1]);
});
