import { generateMla } from "./generated-attention.ts";
import type { GeneratedOperation } from "./generated-operation.ts";
import {
  generateAdd,
  generateCombine,
  generateEmbed,
  generateGather,
  generateGemm,
  generateGroupedGemm,
  generateGroupRows,
  generateQuantize,
  generateRmsNorm,
  generateRoute,
  generateSiluMultiply,
} from "./generated-operations.ts";
import { generateSample } from "./generated-sampling.ts";
import type { GeneratorSetting, MlaSizes, WeightMaker } from "../inputs/index.ts";
import type { Policy } from "../policy.ts";
import type { GateRule } from "../stream.ts";

const weightDtypes = ["F8_E4M3", "I8", "BF16", "F32"] as const;
const formats = ["f32", "bf16", "fp8", "int8"] as const;

const rule: GateRule = {
  experts: 64,
  topK: 6,
  scoring: "softmax",
  method: "greedy",
  groups: 1,
  topGroups: 1,
  normalise: false,
  scale: 1,
};
const rules: readonly GateRule[] = [
  rule,
  { ...rule, experts: 37, topK: 3, normalise: true },
  { ...rule, experts: 32, method: "group_limited_greedy", groups: 8, topGroups: 3, scale: 16 },
  {
    ...{ experts: 256, topK: 8, scoring: "sigmoid", method: "noaux_tc", groups: 8, topGroups: 4 },
    ...{ normalise: true, scale: 2.5 },
  },
];

const mlaSizes: readonly MlaSizes[] = [
  {
    shape: { heads: 3, nope: 24, rope: 8, value: 20, latent: 136, scale: 0.11 },
    dtype: "F8_E4M3",
    sequences: [
      { context: 550, rows: 3 },
      { context: 9, rows: 0 },
      { context: 1, rows: 1 },
      { context: 64, rows: 1 },
      { context: 300, rows: 9 },
    ],
  },
  {
    shape: { heads: 16, nope: 128, rope: 64, value: 128, latent: 512, scale: 0.0721 },
    dtype: "BF16",
    sequences: [{ context: 70, rows: 2 }],
  },
  {
    shape: { heads: 2, nope: 16, rope: 4, value: 16, latent: 33, scale: 0.2 },
    dtype: "F32",
    sequences: [
      { context: 0, rows: 0 },
      { context: 0, rows: 0 },
    ],
  },
];

const rowSizes = [
  { rows: 0, columns: 48 },
  { rows: 1, columns: 7 },
  { rows: 5, columns: 131 },
  { rows: 3, columns: 576 },
  { rows: 70, columns: 4100 },
];
const matmulSizes = [
  { rows: 0, outputs: 5, columns: 130 },
  { rows: 1, outputs: 129, columns: 257 },
  { rows: 4, outputs: 67, columns: 128 },
  { rows: 33, outputs: 192, columns: 320 },
];
const sampleSizes = [
  { rows: 0, vocabSize: 9, usable: 9 },
  { rows: 1, vocabSize: 1, usable: 1 },
  { rows: 240, vocabSize: 67, usable: 61 },
  { rows: 60, vocabSize: 2500, usable: 2400 },
];

/** Each with a seed of its own. */
function settings(folder: WeightMaker, policy: Policy): () => GeneratorSetting {
  let seed = 1;
  return () => ({ folder, policy, seed: seed++ });
}

/** Operations of a folder's weights that are the same under every policy, by their seeds. */
const made = new WeakMap<WeightMaker, Map<number, GeneratedOperation>>();

/** Every operation on sizes that end inside vectors, blocks and pages, on none, and on many rows. */
export function everyOperation(folder: WeightMaker, policy: Policy): GeneratedOperation[] {
  const setting = settings(folder, policy);
  const shared = made.get(folder) ?? new Map<number, GeneratedOperation>();
  made.set(folder, shared);
  const once = (generate: (own: GeneratorSetting) => GeneratedOperation) => {
    const own = setting();
    const operation = shared.get(own.seed) ?? generate(own);
    shared.set(own.seed, operation);
    return operation;
  };
  return [
    ...rowSizes.flatMap((size) => [
      ...weightDtypes.map((dtype) => once((own) => generateEmbed(own, { ...size, dtype }))),
      ...weightDtypes.map((dtype) => once((own) => generateRmsNorm(own, { ...size, dtype }))),
      once((own) => generateAdd(own, size)),
      once((own) => generateSiluMultiply(own, size)),
      ...formats.map((format) => once((own) => generateQuantize(own, { ...size, format }))),
      ...formats.map((format) => once((own) => generateGather(own, { ...size, format }))),
      generateCombine(setting(), { ...size, topK: 3 }),
    ]),
    ...products(setting),
    ...[0, 1, 130].flatMap((rows) =>
      rules.flatMap((gate) => [
        once((own) => generateRoute(own, { rows, rule: gate })),
        once((own) => generateGroupRows(own, { rows, rule: gate })),
      ]),
    ),
    ...mlaSizes.flatMap((size) => generateMla(setting(), size)),
    ...sampleSizes.map((size) => once((own) => generateSample(own, size))),
  ];
}

/** Every product, on its sizes. */
export const everyProduct = (folder: WeightMaker, policy: Policy): GeneratedOperation[] =>
  products(settings(folder, policy));

const products = (setting: () => GeneratorSetting) =>
  matmulSizes.flatMap((size) =>
    weightDtypes.flatMap((dtype) => [
      generateGemm(setting(), { ...size, dtype }),
      generateGroupedGemm(setting(), { ...size, dtype, experts: 5 }),
    ]),
  );
