import assert from "node:assert/strict";
import { after, test } from "node:test";
import { createNativeKernels, nativeProblem } from "./native.ts";
import { createOperand } from "../quantize.ts";
import { createReferenceKernels } from "../reference/index.ts";
import { PAGE_TOKENS, type GateRule, type StepLayout, type Stream } from "../stream.ts";
import { randomSource } from "../inputs/index.ts";
import { WeightFolder } from "../testing/weight-folder.ts";

const folder = new WeightFolder();
after(() => folder.remove());

const random = randomSource(1);
const table = folder.create(random, "F32", [5, 8]).weight;
const gain = folder.create(random, "F32", [6]).weight;
const experts = [0, 1].map(() => folder.create(random, "F32", [3, 8]).weight);
const squares = [0, 1].map(() => folder.create(random, "F32", [8, 8]).weight);
const shape = { heads: 1, nope: 2, rope: 2, value: 3, latent: 6, scale: 1 };
const rope = { frequencies: Float32Array.of(1), amplitude: 1, interleaved: false };
const rule: GateRule = {
  ...{ experts: 4, topK: 2, scoring: "softmax", method: "greedy" },
  ...{ groups: 1, topGroups: 1, normalise: false, scale: 1 },
};

/** Two sequences in a pool of five pages: rows at 70 and 71 of the one, at 3 of the other. */
const layout: StepLayout = {
  rows: 3,
  positions: Int32Array.of(70, 71, 3),
  rowStarts: Int32Array.of(0, 2, 3),
  pageTables: Int32Array.of(4, 1, -9, 0, 77, 99),
  tableStride: 3,
};
const cache = () => ({ entries: new Float32Array(5 * PAGE_TOKENS * 8) });

function writeKv(stream: Stream, change: Partial<StepLayout>): void {
  stream.writeKv(cache(), new Float32Array(24), gain, 1e-6, shape, rope, { ...layout, ...change });
}

function attend(stream: Stream, change: Partial<StepLayout>): void {
  const values = () => new Float32Array(18);
  stream.attention(values(), values(), values(), cache(), shape, { ...layout, ...change });
}

function multiplyGroups(stream: Stream, ...starts: readonly number[]): void {
  const groups = {
    starts: Int32Array.from(starts),
    sources: new Int32Array(0),
    places: new Int32Array(0),
  };
  stream.groupedGemm(new Float32Array(12), createOperand("f32", 4, 8), experts, groups, 4);
}

function groupedMlp(stream: Stream, starts: readonly number[], sources: readonly number[]): void {
  const [x, sorted, product] = [2, 3, 3].map((rows) => createOperand("f32", rows, 8));
  const [gate, up] = [new Float32Array(24), new Float32Array(24)];
  const groups = {
    ...{ starts: Int32Array.from(starts), sources: Int32Array.from(sources) },
    places: new Int32Array(0),
  };
  const weights = { gate: squares, up: squares, down: squares };
  stream.groupedMlp(new Float32Array(24), x, weights, groups, {
    ...{ pairs: 3, sorted, product, gate, up },
  });
}

function groupRows(stream: Stream, ...ids: readonly number[]): void {
  const out = { starts: new Int32Array(5), sources: new Int32Array(4), places: new Int32Array(4) };
  stream.groupRows(out, Int32Array.from(ids), rule, 2);
}

function gather(stream: Stream, format: "f32" | "fp8", ...sources: readonly number[]): void {
  const [out, x] = [2, 3].map((rows) => createOperand(format, rows, 130));
  stream.gather(out, x, Int32Array.from(sources), 2);
}

function combine(stream: Stream, ...places: readonly number[]): void {
  const weights = new Float32Array(4).fill(1);
  const rows = new Float32Array(3 * 4);
  stream.combine(new Float32Array(8), rows, weights, Int32Array.from(places), 2, 4, 2);
}

function sample(stream: Stream, ...wanted: readonly number[]): void {
  const out = {
    tokens: new Int32Array(2),
    sums: new Float64Array(2),
    most: 2,
    likeliest: new Int32Array(4),
  };
  const rules = Float64Array.from(wanted.flatMap((count) => [0, 0, 1, 0, 0, count, 1, 0, 0]));
  const adjustments = {
    counted: Int32Array.of(1 << 30, 1, -1, 1),
    ...{ distinct: 2, proposed: Int32Array.of(5, 1) },
    biasTokens: Int32Array.of(4, -9),
    biases: Float64Array.of(1, 1),
  };
  const sampling = { usable: 4, rules, adjustments: [adjustments, undefined] };
  stream.sample(out, Float32Array.of(4, 1, 1, 1, 9, 4, 1, 1, 1, 9), 5, sampling, 2);
}

/** Operations with indices that lead nowhere, by what is said of them; and one that leads somewhere. */
const cases: Readonly<Record<string, (stream: Stream) => void>> = {
  "embed: tokens[1] is 5, expected 0 to 4": (stream) =>
    stream.embed(new Float32Array(16), table, Int32Array.of(4, 5), 2),
  "embed: tokens[0] is -1, expected 0 to 4": (stream) =>
    stream.embed(new Float32Array(16), table, Int32Array.of(-1, 5), 2),
  "groupedGemm: starts[0] is -1, expected 0 to 4": (stream) => multiplyGroups(stream, -1, 2, 4),
  "groupedGemm: starts[2] is 1, expected 2 to 4": (stream) => multiplyGroups(stream, 0, 2, 1),
  "groupedGemm: starts[2] is 5, expected 2 to 4": (stream) => multiplyGroups(stream, 0, 2, 5),
  "groupedMlp: starts[2] is 4, expected 1 to 3": (stream) =>
    groupedMlp(stream, [0, 1, 4], [0, 1, 0, 1]),
  "groupedMlp: starts[1] is -1, expected 0 to 3": (stream) =>
    groupedMlp(stream, [0, -1, 3], [0, 1, 0]),
  "groupedMlp: sources[1] is 2, expected 0 to 1": (stream) =>
    groupedMlp(stream, [0, 1, 2], [0, 2, 0]),
  "groupRows: ids[3] is 4, expected 0 to 3": (stream) => groupRows(stream, 0, 3, 1, 4),
  "groupRows: ids[0] is -1, expected 0 to 3": (stream) => groupRows(stream, -1, 3, 1, 2),
  "gather: sources[1] is 3, expected 0 to 2": (stream) => gather(stream, "f32", 2, 3),
  "gather: sources[0] is -2, expected 0 to 2": (stream) => gather(stream, "fp8", -2, 0),
  "combine: places[2] is 3, expected 0 to 2": (stream) => combine(stream, 0, 1, 3, 2),
  "combine: places[3] is -1, expected 0 to 2": (stream) => combine(stream, 0, 1, 2, -1),
  "writeKv: positions[1] is 192, expected 0 to 191": (stream) =>
    writeKv(stream, { positions: Int32Array.of(70, 192, 3) }),
  "writeKv: rowStarts[0] is 1, expected 0": (stream) =>
    writeKv(stream, { rowStarts: Int32Array.of(1, 2, 3) }),
  "writeKv: rowStarts[2] is 2, expected 3": (stream) =>
    writeKv(stream, { rowStarts: Int32Array.of(0, 2, 2) }),
  "writeKv: pageTables[3] is 5, expected 0 to 4": (stream) =>
    writeKv(stream, { pageTables: Int32Array.of(4, 1, -9, 5, 77, 99) }),
  "attention: pageTables[1] is -1, expected 0 to 4": (stream) =>
    attend(stream, { pageTables: Int32Array.of(4, -1, -9, 0, 77, 99) }),
  "attention: pageTables[2] is -9, expected 0 to 4": (stream) =>
    attend(stream, { positions: Int32Array.of(128, 70, 3) }),
  "attention: positions[2] is -3, expected 0 to 191": (stream) =>
    attend(stream, { positions: Int32Array.of(70, 71, -3) }),
  "attention: rowStarts[1] is 4, expected 0 to 3": (stream) =>
    attend(stream, { rowStarts: Int32Array.of(0, 4, 3) }),
  "sample: row 1 asks for 3 likeliest tokens, there is room for 2 of 4": (stream) =>
    sample(stream, 0, 3),
};

const right = [
  (stream: Stream) => stream.embed(new Float32Array(16), table, Int32Array.of(0, 4), 2),
  (stream: Stream) => multiplyGroups(stream, 1, 2, 4),
  (stream: Stream) => groupedMlp(stream, [0, 1, 3], [0, 1, 1]),
  (stream: Stream) => groupRows(stream, 0, 3, 1, 2),
  (stream: Stream) => gather(stream, "fp8", 2, 0),
  (stream: Stream) => combine(stream, 0, 1, 2, 0),
  (stream: Stream) => writeKv(stream, {}),
  (stream: Stream) => attend(stream, {}),
  // Adjustments of tokens that are not there have no effect.
  (stream: Stream) => sample(stream, 2, 0),
];

const problem = nativeProblem();
const backends = { reference: createReferenceKernels, native: createNativeKernels };
for (const [name, create] of Object.entries(backends)) {
  const skip = name === "native" ? (problem ?? false) : false;

  test(`${name} kernels follow no index that leads out of its array`, { skip }, async () => {
    const stream = create().createStream("f32");
    for (const [message, enqueue] of Object.entries(cases)) {
      const run = async () => {
        enqueue(stream);
        await stream.fence();
      };
      await assert.rejects(run, { message });
      stream.reset();
      for (const enqueueRight of right) enqueueRight(stream);
      await stream.fence();
    }
    stream.close();
  });
}
