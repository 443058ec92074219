import assert from "node:assert/strict";
import { after, test } from "node:test";
import { gaussian, marginsHold, randomSource, type Values } from "../inputs/index.ts";
import { createOperand } from "../quantize.ts";
import { generateMla } from "../testing/generated-attention.ts";
import type { GeneratedOperation } from "../testing/generated-operation.ts";
import { everyOperation, everyProduct } from "../testing/every-operation.ts";
import { generateGemm, generateGroupedGemm } from "../testing/generated-operations.ts";
import { StripFolder } from "../testing/strip-fixtures.ts";
import { WeightFolder } from "../testing/weight-folder.ts";
import { loadNative } from "../native-addon.ts";
import { createNativeKernels } from "./native.ts";
import { policies, type Policy } from "../policy.ts";
import { createReferenceKernels } from "../reference/reference.ts";
import { COMMON_BITS, type Stream } from "../stream.ts";

const { addon, problem } = loadNative();
const folder = new WeightFolder();
after(() => folder.remove());

function assertAgrees(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { agreement, name }: GeneratedOperation,
  usesTiles: boolean,
): void {
  if (!usesTiles || agreement === "exact" || actual instanceof Int32Array) {
    assert.deepEqual(actual, expected, name);
    return;
  }
  const [a, e] = [actual, expected].map((values) => Float64Array.from(valuesOf(values)));
  const errors = a.map((x, i) => Math.abs(x - e[i]));
  if ("ofMaximum" in agreement) {
    const largest = e.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-30);
    const error = errors.reduce((most, x) => Math.max(most, x), 0) / largest;
    assert.ok(error <= agreement.ofMaximum, `${name}: error ${error} of the maximum`);
    assert.ok(
      errors.every((x) => !Number.isNaN(x)),
      `${name}: NaN`,
    );
  } else {
    const l2 = (values: Float64Array) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
    const error = l2(errors) / Math.max(l2(e), 1e-30);
    assert.ok(error <= agreement.relativeL2, `${name}: relative error ${error}`);
  }
}

/** Stored rows are BF16 codes. */
function valuesOf(values: ArrayLike<number>): ArrayLike<number> {
  if (!(values instanceof Uint16Array)) return values;
  return new Float32Array(Uint32Array.from(values, (code) => code << 16).buffer);
}

async function results(stream: Stream, operation: GeneratedOperation, from?: number, to?: number) {
  const outputs = operation.enqueue(stream, from, to);
  await stream.fence();
  for (const output of outputs) assert.ok(marginsHold(output), `${operation.name}: margins`);
  return outputs;
}

/** The streams of a test, closed at its end. Who wants more threads comes first, while cores are free. */
async function withStreams(
  policy: Policy,
  options: readonly { readonly threads: number; readonly instructionSet: string }[],
  run: (...streams: Stream[]) => Promise<void>,
): Promise<void> {
  const kernels = options.map((option) => createNativeKernels(option));
  const streams = kernels.map((each) => each.createStream(policy));
  try {
    streams.forEach(({ threads }, i) => assert.equal(threads, kernels[i].threads));
    await run(...streams);
  } finally {
    for (const stream of streams) stream.close();
  }
}

for (const policy of policies) {
  const operations = addon
    ? [
        ...everyOperation(folder, policy),
        ...productsOfStrips(policy),
        ...ofManyRows(policy),
        ...(policy === "int8" ? productsOfInt4() : []),
      ]
    : [];
  const reference = createReferenceKernels().createStream(policy);
  const expected = new Map<GeneratedOperation, Values[]>();
  /** What the reference, which is slow, computes once for all instruction sets. */
  const expectedOf = (operation: GeneratedOperation): Values[] => {
    const outputs = expected.get(operation) ?? operation.enqueue(reference);
    expected.set(operation, outputs);
    return outputs;
  };
  for (const instructionSet of addon?.instructionSets ?? ["native"]) {
    const usesTiles =
      addon !== undefined && createNativeKernels({ instructionSet }).bitsOf(policy) !== COMMON_BITS;
    for (const name of new Set(operations.map((operation) => operation.name))) {
      const cases = operations.filter((operation) => operation.name === name);
      test(`${name} on ${instructionSet} under ${policy} agrees with the reference`, async () => {
        await withStreams(policy, [{ threads: 1, instructionSet }], async (stream) => {
          for (const operation of cases) {
            const actual = await results(stream, operation);
            const right = expectedOf(operation);
            actual.forEach((output, i) => assertAgrees(output, right[i], operation, usesTiles));
          }
        });
      });

      test(`${name} on ${instructionSet} under ${policy} gives a row its bits alone and in any batch, with one thread and two`, async () => {
        const options = [2, 1].map((threads) => ({ threads, instructionSet }));
        await withStreams(policy, options, async (two, one) => {
          for (const operation of cases) {
            const { rows } = operation;
            const whole = await results(one, operation);
            assert.deepEqual(await results(two, operation), whole);
            for (const [from, to] of partsOf(rows)) {
              const part = await results(from % 2 === 0 ? one : two, operation, from, to);
              part.forEach((output, i) => {
                const width = whole[i].length / rows;
                assert.deepEqual(output, whole[i].slice(from * width, to * width), name);
              });
            }
          }
        });
      });
    }
  }
}

/** Products with weights that also lie in strips, which a policy's streams take as they like. */
function productsOfStrips(policy: Policy): GeneratedOperation[] {
  const products = everyProduct(new StripFolder(folder), policy);
  return products.map((operation) => ({ ...operation, name: `${operation.name} of strips` }));
}

/** Products whose rows are cut, and W_UK's of more than a few rows, read in whole lines. */
function ofManyRows(policy: Policy): GeneratedOperation[] {
  const setting = { folder, policy, seed: 90 };
  const shape = { heads: 2, nope: 27, rope: 8, value: 20, latent: 96, scale: 0.1 };
  const sizes = { rows: 200, outputs: 3, columns: 140 };
  return [
    generateGemm(setting, { ...sizes, dtype: "BF16" }),
    generateGemm(setting, { ...sizes, dtype: "I8" }),
    ...generateMla(setting, { shape, dtype: "BF16", sequences: [{ context: 60, rows: 20 }] }),
  ];
}

function productsOfInt4(): GeneratedOperation[] {
  const sizes = [
    { rows: 1, outputs: 129, columns: 257 },
    { rows: 33, outputs: 192, columns: 320 },
  ];
  return [folder, new StripFolder(folder)].flatMap((weights, i) =>
    sizes.flatMap((size, j) => {
      const setting = { folder: weights, policy: "int8" as const, seed: 50 + j };
      const layout = i === 0 ? "rows" : "strips";
      return [
        { ...generateGemm(setting, { ...size, dtype: "I4" }), name: `gemm of INT4 ${layout}` },
        {
          ...generateGroupedGemm(setting, { ...size, dtype: "I4", experts: 5 }),
          name: `groupedGemm of INT4 ${layout}`,
        },
      ];
    }),
  );
}

test(
  "linear weights are read from their strips where a policy's kernels like them, and from their rows elsewhere",
  { skip: problem ?? false },
  async () => {
    const other = new StripFolder(folder).create(randomSource(3), "I8", [20, 130]).weight.strips!;
    for (const policy of ["int8", "w8a16"] as const) {
      const kernels = createNativeKernels({ instructionSet: addon!.instructionSets.at(-1)! });
      assert.equal(kernels.stripDtypes(policy).includes("I8"), policy === "int8");
      const stream = kernels.createStream(policy);
      const { weight } = folder.create(randomSource(2), "I8", [20, 130]);
      const x = createOperand(stream.operandFormat(weight), 1, 130);
      const outs = [new Float32Array(20), new Float32Array(20)];
      stream.quantize(x, gaussian(randomSource(1), 130), 1);
      stream.gemm(outs[0], x, weight, 1);
      stream.gemm(outs[1], x, { ...weight, strips: other }, 1);
      await stream.fence();
      stream.close();
      const sameAsRows = String(outs[0]) === String(outs[1]);
      assert.equal(sameAsRows, policy === "w8a16", policy);
    }
  },
);

test("native kernels are built", { skip: problem ?? false }, () => assert.ok(addon));

/** Each of the first rows alone, and some runs. */
function partsOf(rows: number): [number, number][] {
  const alone = Array.from({ length: Math.min(rows, 6) }, (_, i): [number, number] => [i, i + 1]);
  const runs: [number, number][] = [
    [0, 2],
    [1, 4],
    [2, rows],
  ];
  return [...alone, ...runs.filter(([from, to]) => from < to && to <= rows)];
}

test(
  "fast decoding gives rows alone other bits, and rows in company the same",
  { skip: addon?.fastDecode.length ? false : (problem ?? "no kernels here have faster ones") },
  async () => {
    const [instructionSet] = addon?.fastDecode ?? [];
    const operation = generateGemm(
      { folder, policy: "w8a16", seed: 1 },
      { rows: 3, outputs: 129, columns: 257, dtype: "F8_E4M3" },
    );
    const kernels = [false, true].map((fastDecode) =>
      createNativeKernels({ instructionSet, fastDecode }),
    );
    assert.deepEqual(
      kernels.map(({ modes }) => modes),
      [[], ["fast-decode"]],
    );
    assert.deepEqual(
      kernels.map((each) => [each.bitsOf("w8a16"), each.bitsOf("int8")]),
      [
        [instructionSet, COMMON_BITS],
        [`${instructionSet}-fast-decode`, COMMON_BITS],
      ],
    );
    const [plain, fast] = kernels.map((each) => each.createStream("w8a16"));
    assert.deepEqual(await results(fast, operation), await results(plain, operation));
    assert.notDeepEqual(
      await results(fast, operation, 0, 1),
      await results(plain, operation, 0, 1),
    );
    plain.close();
    fast.close();
  },
);
