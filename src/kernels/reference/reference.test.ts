import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, test } from "node:test";
import fc from "fast-check";
import { e4m3Values, fromBf16, roundBf16 } from "../float-formats.ts";
import { gaussian, randomSource } from "../inputs/index.ts";
import { WeightFolder } from "../testing/weight-folder.ts";
import type { Operand, StoredRows } from "../operand-format.ts";
import { policies, precisions } from "../policy.ts";
import { createOperand, createStoredRows } from "../quantize.ts";
import { createReferenceKernels } from "./reference.ts";
import {
  KV_PIECE_TOKENS,
  PAGE_TOKENS,
  type GateRule,
  type MlaShape,
  type StepLayout,
} from "../stream.ts";

const folder = new WeightFolder();
after(() => folder.remove());
const kernels = createReferenceKernels();

/** Operand values with their scales applied, in float64. */
function valuesOf(x: Operand): Float64Array {
  if (x.format === "f32") return Float64Array.from(x.values);
  if (x.format === "bf16") return Float64Array.from(x.values, fromBf16);
  const blocks = Math.ceil(x.columns / 128);
  return Float64Array.from(x.values, (code, i) => {
    const row = Math.floor(i / x.columns);
    return e4m3Values[code] * x.scales[row * blocks + ((i % x.columns) >> 7)];
  });
}

const stored = (rows: StoredRows) =>
  rows instanceof Float32Array ? Float64Array.from(rows) : Float64Array.from(rows, fromBf16);

function largestError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let error = 0;
  let scale = 0;
  for (let i = 0; i < expected.length; i++) {
    error = Math.max(error, Math.abs(actual[i] - expected[i]));
    scale = Math.max(scale, Math.abs(expected[i]));
  }
  return error / scale;
}

for (const policy of policies) {
  for (const dtype of ["F8_E4M3", "BF16", "F32"] as const) {
    test(`gemm of ${dtype} under ${policy} equals float64 of the same operands to 1e-6`, () => {
      const stream = kernels.createStream(policy);
      for (const [rows, outputs, columns] of [
        [1, 5, 130],
        [3, 129, 257],
        [7, 192, 320],
      ]) {
        const random = randomSource(rows * 1000 + outputs);
        const { weight, values } = folder.create(random, dtype, [outputs, columns]);
        const x = createOperand(stream.operandFormat(weight), rows, columns);
        stream.quantize(x, gaussian(random, rows * columns), rows);
        const out = new Float32Array(rows * outputs);
        stream.gemm(out, x, weight, rows);
        const inputs = valuesOf(x);
        const expected = new Float64Array(rows * outputs);
        for (let m = 0; m < rows; m++)
          for (let n = 0; n < outputs; n++)
            for (let k = 0; k < columns; k++)
              expected[m * outputs + n] += inputs[m * columns + k] * values[n * columns + k];
        assert.ok(largestError(out, expected) < 1e-6);
      }
    });
  }

  test(`a row's gemm bits under ${policy} do not depend on the rows beside it`, () => {
    const random = randomSource(7);
    const stream = kernels.createStream(policy);
    const { weight } = folder.create(random, "F8_E4M3", [70, 300]);
    const rows = gaussian(random, 9 * 300);
    const together = multiplyRows(rows, 9);
    for (let row = 0; row < 9; row++) {
      const alone = multiplyRows(rows.slice(row * 300, (row + 1) * 300), 1);
      assert.deepEqual(alone, together.slice(row * 70, (row + 1) * 70));
    }

    function multiplyRows(x: Float32Array, count: number): Float32Array {
      const operand = createOperand(stream.operandFormat(weight), count, 300);
      const out = new Float32Array(count * 70);
      stream.quantize(operand, x, count);
      stream.gemm(out, operand, weight, count);
      return out;
    }
  });

  test(`grouped gemm under ${policy} gives each row what its expert's gemm gives`, () => {
    const random = randomSource(11);
    const stream = kernels.createStream(policy);
    const weights = [0, 1, 2, 3].map(() => folder.create(random, "F8_E4M3", [40, 160]).weight);
    const starts = Int32Array.of(0, 3, 3, 8, 9);
    const x = gaussian(random, 9 * 160);
    const operand = createOperand(stream.operandFormat(weights[0]), 9, 160);
    stream.quantize(operand, x, 9);
    const out = createStoredRows(precisions[policy].rows, 9 * 40);
    const groups = { starts, sources: new Int32Array(9), places: new Int32Array(9) };
    stream.groupedGemm(out, operand, weights, groups, 9);
    const actual = stored(out);
    const one = createOperand(operand.format, 1, 160);
    const row = new Float32Array(40);
    for (let g = 0; g < 4; g++) {
      for (let i = starts[g]; i < starts[g + 1]; i++) {
        stream.gather(one, operand, Int32Array.of(i), 1);
        stream.gemm(row, one, weights[g], 1);
        const kept = policy === "f32" ? Float64Array.from(row) : Float64Array.from(row, roundBf16);
        assert.deepEqual(actual.slice(i * 40, (i + 1) * 40), kept);
      }
    }
  });
}

test("w8a8 quantises by amax over 128 columns and keeps an all-zero block finite", () => {
  const x = createOperand("fp8", 1, 200);
  const stream = kernels.createStream("w8a8");
  const values = new Float32Array(200);
  values[5] = -4.48;
  stream.quantize(x, values, 1);
  assert.ok(x.format === "fp8");
  assert.equal(x.values[5], 0xfe);
  assert.equal(x.scales[0], Math.fround(Math.fround(4.48) / 448));
  assert.equal(x.scales[1], Math.fround(Math.fround(1e-4) / 448));
});

const shape: MlaShape = { heads: 3, nope: 24, rope: 8, value: 20, latent: 136, scale: 0.11 };
const width = shape.latent + shape.rope;

/** A context of `length` tokens in scattered pages; unused entries and table slots are poison. */
function scatteredContext(policy: (typeof policies)[number], length: number, seed: number) {
  const random = randomSource(seed);
  const used = Math.ceil(length / PAGE_TOKENS);
  const pages = used + 3;
  const entries = createStoredRows(precisions[policy].kv, pages * PAGE_TOKENS * width);
  entries.fill(entries instanceof Float32Array ? NaN : 0x7fc0);
  const table = Int32Array.from({ length: used + 2 }, (_, i) => (i < used ? pages - 1 - i : -77));
  const values = gaussian(random, length * width);
  const kept = new Float64Array(length * width);
  for (let t = 0; t < length; t++) {
    const at = (table[Math.floor(t / PAGE_TOKENS)] * PAGE_TOKENS + (t % PAGE_TOKENS)) * width;
    const source = createStoredRows(precisions[policy].kv, width);
    const operand = createOperand(precisions[policy].kv, 1, width);
    kernels.createStream(policy).quantize(operand, values.slice(t * width, (t + 1) * width), 1);
    source.set(operand.values);
    entries.set(source, at);
    kept.set(stored(source), t * width);
  }
  return { cache: { entries }, table, kept, random };
}

for (const policy of policies) {
  test(`attention under ${policy} agrees with a plain softmax and never reads unused memory`, () => {
    const stream = kernels.createStream(policy);
    const length = 2 * KV_PIECE_TOKENS + 37;
    const { cache, table, kept, random } = scatteredContext(policy, length, 3);
    const positions = Int32Array.of(0, 5, 63, 64, 255, 256, 300, length - 1);
    const rows = positions.length;
    const layout: StepLayout = {
      rows,
      positions,
      rowStarts: Int32Array.of(0, rows),
      pageTables: table,
      tableStride: table.length,
    };
    const absorbed = gaussian(random, rows * shape.heads * shape.latent);
    const q = gaussian(random, rows * shape.heads * (shape.nope + shape.rope));
    const out = new Float32Array(rows * shape.heads * shape.latent);
    stream.attention(out, absorbed, q, cache, shape, layout);
    const expected = plainAttention(absorbed, q, kept, positions);
    assert.ok(relativeL2(out, expected) < (policy === "f32" ? 1e-6 : 5e-3));

    for (let row = 0; row < rows; row++) {
      const one = { ...layout, rows: 1, rowStarts: Int32Array.of(0, 1) };
      const alone = new Float32Array(shape.heads * shape.latent);
      const part = (x: Float32Array, size: number) => x.slice(row * size, (row + 1) * size);
      stream.attention(
        alone,
        part(absorbed, shape.heads * shape.latent),
        part(q, shape.heads * (shape.nope + shape.rope)),
        cache,
        shape,
        { ...one, positions: positions.slice(row, row + 1) },
      );
      assert.deepEqual(alone, part(out, shape.heads * shape.latent), "alone or in a chunk");
    }
  });
}

function plainAttention(
  absorbed: Float32Array,
  q: Float32Array,
  kept: Float64Array,
  positions: Int32Array,
): Float64Array {
  const { heads, latent, nope, rope, scale } = shape;
  const out = new Float64Array(absorbed.length);
  positions.forEach((position, row) => {
    for (let head = 0; head < heads; head++) {
      const at = (row * heads + head) * latent;
      const rotated = (row * heads + head) * (nope + rope) + nope;
      const scores = Array.from({ length: position + 1 }, (_, t) => {
        let dot = 0;
        for (let c = 0; c < latent; c++) dot += absorbed[at + c] * kept[t * width + c];
        for (let c = 0; c < rope; c++) dot += q[rotated + c] * kept[t * width + latent + c];
        return dot * scale;
      });
      const maximum = Math.max(...scores);
      const weights = scores.map((s) => Math.exp(s - maximum));
      const sum = weights.reduce((a, b) => a + b);
      weights.forEach((weight, t) => {
        for (let c = 0; c < latent; c++) out[at + c] += (weight / sum) * kept[t * width + c];
      });
    }
  });
  return out;
}

function relativeL2(actual: ArrayLike<number>, expected: Float64Array): number {
  let difference = 0;
  let size = 0;
  expected.forEach((x, i) => {
    difference += (actual[i] - x) ** 2;
    size += x * x;
  });
  return Math.sqrt(difference / size);
}

test("absorbing the query and projecting the value equal the expanded heads", () => {
  const stream = kernels.createStream("f32");
  const random = randomSource(5);
  const { heads, nope, rope, value, latent } = shape;
  const kvB = folder.create(random, "F8_E4M3", [heads * (nope + value), latent]);
  const q = gaussian(random, 2 * heads * (nope + rope));
  const absorbed = new Float32Array(2 * heads * latent);
  stream.absorbQuery(absorbed, q, kvB.weight, shape, 2);
  const sum = gaussian(random, 2 * heads * latent);
  const projected = new Float32Array(2 * heads * value);
  stream.projectValue(projected, sum, kvB.weight, shape, 2);

  const expectedQuery = new Float64Array(absorbed.length);
  const expectedValue = new Float64Array(projected.length);
  for (let rowHead = 0; rowHead < 2 * heads; rowHead++) {
    const first = (rowHead % heads) * (nope + value);
    for (let c = 0; c < latent; c++) {
      for (let j = 0; j < nope; j++)
        expectedQuery[rowHead * latent + c] +=
          q[rowHead * (nope + rope) + j] * kvB.values[(first + j) * latent + c];
      for (let j = 0; j < value; j++)
        expectedValue[rowHead * value + j] +=
          sum[rowHead * latent + c] * kvB.values[(first + nope + j) * latent + c];
    }
  }
  assert.ok(largestError(absorbed, expectedQuery) < 1e-6);
  assert.ok(largestError(projected, expectedValue) < 1e-6);
});

const gateRules: fc.Arbitrary<GateRule> = fc.record({
  experts: fc.constantFrom(8, 16),
  topK: fc.integer({ min: 1, max: 4 }),
  scoring: fc.constantFrom("sigmoid" as const, "softmax" as const),
  method: fc.constantFrom("noaux_tc" as const, "group_limited_greedy" as const, "greedy" as const),
  groups: fc.constantFrom(2, 4),
  topGroups: fc.constant(2),
  normalise: fc.boolean(),
  scale: fc.constantFrom(1, 2.5),
});

test("a gate keeps to its best groups and its best experts, and weights ignore the bias", () => {
  fc.assert(
    fc.property(gateRules, fc.integer(), (rule, seed) => {
      const random = randomSource(seed);
      const { experts, topK } = rule;
      const logits = gaussian(random, experts);
      const generated = folder.create(random, "F32", [experts]);
      const bias = rule.method === "noaux_tc" ? generated.weight : undefined;
      const ids = new Int32Array(topK);
      const weights = new Float32Array(topK);
      kernels.createStream("f32").route(ids, weights, logits, bias, rule, 1);

      const exps = [...logits].map(Math.exp);
      const total = exps.reduce((a, b) => a + b);
      const scores = [...logits].map((x, e) =>
        rule.scoring === "sigmoid" ? 1 / (1 + Math.exp(-x)) : exps[e] / total,
      );
      const choice = scores.map((s, e) => s + (bias ? generated.values[e] : 0));
      const size = experts / rule.groups;
      const best = rule.method === "noaux_tc" ? 2 : 1;
      const groupScores = Array.from({ length: rule.groups }, (_, g) =>
        choice
          .slice(g * size, (g + 1) * size)
          .sort((a, b) => b - a)
          .slice(0, best)
          .reduce((a, b) => a + b),
      );
      const order = (values: number[]) =>
        values.map((_, i) => i).sort((a, b) => values[b] - values[a]);
      const kept = new Set(order(groupScores).slice(0, rule.topGroups));
      const allowed = order(choice).filter(
        (e) => rule.method === "greedy" || kept.has(Math.floor(e / size)),
      );
      const expected = allowed.slice(0, topK).sort((a, b) => a - b);
      assert.deepEqual([...ids], expected);
      const sum = expected.reduce((a, e) => a + scores[e], 0);
      expected.forEach((e, j) => {
        const weight = (scores[e] / (rule.normalise ? sum : 1)) * rule.scale;
        assert.ok(Math.abs(weights[j] - weight) < 1e-5);
      });
    }),
    { numRuns: 150 },
  );
});

test("equal scores go to the lower expert, and ids come out ascending", () => {
  const rule: GateRule = {
    experts: 8,
    topK: 3,
    scoring: "sigmoid",
    method: "greedy",
    groups: 1,
    topGroups: 1,
    normalise: true,
    scale: 1,
  };
  const ids = new Int32Array(3);
  const logits = Float32Array.of(0, 1, 0, 2, 1, 1, 0, 0);
  kernels.createStream("f32").route(ids, new Float32Array(3), logits, undefined, rule, 1);
  assert.deepEqual([...ids], [1, 3, 4]);
});

test("grouping sorts pairs by expert, keeps rows in order and names each pair's place", () => {
  fc.assert(
    fc.property(fc.array(fc.uniqueArray(fc.nat(7), { minLength: 3, maxLength: 3 })), (choices) => {
      const rows = choices.length;
      const ids = Int32Array.from(choices.flatMap((row) => row.sort((a, b) => a - b)));
      const groups = {
        starts: new Int32Array(9),
        sources: new Int32Array(rows * 3),
        places: new Int32Array(rows * 3),
      };
      const rule = { experts: 8, topK: 3 } as GateRule;
      kernels.createStream("f32").groupRows(groups, ids, rule, rows);
      assert.equal(groups.starts[8], rows * 3);
      for (let pair = 0; pair < rows * 3; pair++) {
        const place = groups.places[pair];
        const expert = ids[pair];
        assert.ok(place >= groups.starts[expert] && place < groups.starts[expert + 1]);
        assert.equal(groups.sources[place], Math.floor(pair / 3));
      }
      for (let e = 0; e < 8; e++)
        for (let i = groups.starts[e] + 1; i < groups.starts[e + 1]; i++)
          assert.ok(groups.sources[i] > groups.sources[i - 1]);
    }),
  );
});

test("a weight that ends early or holds a NaN code is refused by tensor and file", () => {
  const stream = kernels.createStream("f32");
  const { weight } = folder.create(randomSource(1), "F8_E4M3", [4, 8]);
  const x = createOperand("f32", 1, 8);
  const out = new Float32Array(9);
  const tooLong = { ...weight, shape: [9, 8] };
  assert.throws(() => stream.gemm(out, x, tooLong, 1), /weight-\d+ needs 72 bytes.*holds 32/);
  const bytes = readFileSync(weight.file);
  bytes[weight.offset + 13] = 0x7f;
  writeFileSync(weight.file, bytes);
  assert.throws(() => stream.gemm(out, x, weight, 1), /weight-\d+ in .* NaN at row 1, column 5/);
});
