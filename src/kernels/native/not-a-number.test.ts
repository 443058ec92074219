import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, test } from "node:test";
import { precisions } from "../policy.ts";
import { createOperand, createStoredRows } from "../quantize.ts";
import { createReferenceKernels } from "../reference/reference.ts";
import { PAGE_TOKENS, type GateRule, type MlaShape, type Stream } from "../stream.ts";
import { backends } from "../testing/fixtures.ts";
import { gaussian, randomSource } from "../inputs/index.ts";
import { WeightFolder } from "../testing/weight-folder.ts";
import type { Weight } from "../weight.ts";

const folder = new WeightFolder();
after(() => folder.remove());

const native = backends.filter(({ name }) => name !== "reference");
/** Codes of e4m3 that are no numbers. */
const nanCodes = [0x7f, 0xff];

/** An FP8 weight, one of whose codes is no number. */
function damagedWeight(shape: readonly number[], at: number, code: number): Weight {
  const { weight } = folder.create(randomSource(at), "F8_E4M3", shape);
  const bytes = readFileSync(weight.file);
  bytes[weight.offset + at] = code;
  writeFileSync(weight.file, bytes);
  return weight;
}

async function computed(stream: Stream, out: Float32Array, enqueue: () => void) {
  enqueue();
  await stream.fence();
  return Array.from(out, Number.isNaN);
}

for (const { name, create } of native) {
  for (const policy of ["f32", "w8a16", "w8a8"] as const) {
    test(`a weight's code that is no number spoils its output and no other, on ${name} under ${policy}`, async (t) => {
      const stream = create().createStream(policy);
      t.after(() => stream.close());
      const [outputs, columns] = [37, 200];
      for (const [i, column] of [0, 63, 127, 128, 191, 199].entries()) {
        const weight = damagedWeight([outputs, columns], 5 * columns + column, nanCodes[i % 2]);
        for (const rows of [1, 4, 40]) {
          const x = createOperand(stream.operandFormat(weight), rows, columns);
          stream.quantize(x, gaussian(randomSource(rows), rows * columns), rows);
          const out = new Float32Array(rows * outputs);
          const isNan = await computed(stream, out, () => stream.gemm(out, x, weight, rows));
          assert.deepEqual(
            isNan,
            Array.from(out, (_, at) => at % outputs === 5),
          );
        }
      }
    });

    test(`a code that is no number in kv_b_proj spoils its head, on ${name} under ${policy}`, async (t) => {
      const stream = create().createStream(policy);
      t.after(() => stream.close());
      const shape: MlaShape = { heads: 3, nope: 24, rope: 8, value: 20, latent: 136, scale: 1 };
      const { heads, nope, value, latent } = shape;
      const isOfHead = (width: number) => (at: number) => Math.floor(at / width) % heads === 1;
      for (const rows of [1, 4, 40]) {
        const first = nope + value;
        const upward = damagedWeight([heads * first, latent], (first + 7) * latent + 130, 0x7f);
        const q = gaussian(randomSource(rows), rows * heads * (nope + shape.rope));
        const absorbed = new Float32Array(rows * heads * latent);
        const spoiltQuery = await computed(stream, absorbed, () =>
          stream.absorbQuery(absorbed, q, upward, shape, rows),
        );
        const isSpoilt = (at: number) => isOfHead(latent)(at) && at % latent === 130;
        assert.deepEqual(
          spoiltQuery,
          Array.from(absorbed, (_, at) => isSpoilt(at)),
        );

        const downward = damagedWeight([heads * first, latent], (first + nope + 3) * latent, 0xff);
        const sums = gaussian(randomSource(rows), rows * heads * latent);
        const values = new Float32Array(rows * heads * value);
        const spoiltValue = await computed(stream, values, () =>
          stream.projectValue(values, sums, downward, shape, rows),
        );
        const isSpoiltValue = (at: number) => isOfHead(value)(at) && at % value === 3;
        assert.deepEqual(
          spoiltValue,
          Array.from(values, (_, at) => isSpoiltValue(at)),
        );
      }
    });

    test(`a cache entry that is no number spoils the rows that see it, on ${name} under ${policy}`, async (t) => {
      const stream = create().createStream(policy);
      t.after(() => stream.close());
      const shape: MlaShape = { heads: 2, nope: 8, rope: 8, value: 8, latent: 64, scale: 0.1 };
      const width = shape.latent + shape.rope;
      const entries = createStoredRows(precisions[policy].kv, PAGE_TOKENS * width).fill(0);
      entries[20 * width + 3] = policy === "f32" ? NaN : 0x7fc0;
      const rows = 40;
      const layout = {
        rows,
        positions: Int32Array.from({ length: rows }, (_, i) => i),
        rowStarts: Int32Array.of(0, rows),
        pageTables: Int32Array.of(0),
        tableStride: 1,
      };
      const out = new Float32Array(rows * shape.heads * shape.latent);
      const absorbed = gaussian(randomSource(1), out.length);
      const q = gaussian(randomSource(2), rows * shape.heads * 16);
      const isNan = await computed(stream, out, () =>
        stream.attention(out, absorbed, q, { entries }, shape, layout),
      );
      assert.deepEqual(
        isNan,
        Array.from(out, (_, at) => at >= 20 * shape.heads * shape.latent),
      );
    });
  }

  test(`logits of a gate that are no numbers weigh nothing as a number, on ${name}`, async (t) => {
    const stream = create().createStream("w8a16");
    t.after(() => stream.close());
    const reference = createReferenceKernels().createStream("w8a16");
    const rule = { experts: 16, topK: 3, groups: 1, topGroups: 1, normalise: true, scale: 1 };
    const logits = gaussian(randomSource(1), 2 * 16).fill(NaN, 0, 16);
    for (const scoring of ["sigmoid", "softmax"] as const) {
      const gate: GateRule = { ...rule, scoring, method: "greedy" };
      const [own, expected] = [stream, reference].map((each) => {
        const out = { ids: new Int32Array(6), weights: new Float32Array(6) };
        each.route(out.ids, out.weights, logits, undefined, gate, 2);
        return out;
      });
      await stream.fence();
      assert.deepEqual(own.ids, expected.ids);
      assert.deepEqual(Array.from(own.weights, Number.isNaN), [
        true,
        true,
        true,
        false,
        false,
        false,
      ]);
    }
  });
}
