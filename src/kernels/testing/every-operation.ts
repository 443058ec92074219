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
import type { MlaSizes, WeightMaker } from "../inputs/index.ts";
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

/** Every operation on sizes that end inside vectors, blocks and pages, on none, and on many rows. */
export function everyOperation(folder: WeightMaker, policy: Policy): GeneratedOperation[] {
  let seed = 1;
  const setting = () => ({ folder, policy, seed: seed++ });
  const sizes = [
    { rows: 0, columns: 48 },
    { rows: 1, columns: 7 },
    { rows: 5, columns: 131 },
    { rows: 3, columns: 576 },
    { rows: 70, columns: 4100 },
  ];
  const matmuls = [
    { rows: 0, outputs: 5, columns: 130 },
    { rows: 1, outputs: 129, columns: 257 },
    { rows: 4, outputs: 67, columns: 128 },
    { rows: 33, outputs: 192, columns: 320 },
  ];
  return [
    ...sizes.flatMap((size) => [
      ...weightDtypes.map((dtype) => generateEmbed(setting(), { ...size, dtype })),
      ...weightDtypes.map((dtype) => generateRmsNorm(setting(), { ...size, dtype })),
      generateAdd(setting(), size),
      generateSiluMultiply(setting(), size),
      ...formats.map((format) => generateQuantize(setting(), { ...size, format })),
      ...formats.map((format) => generateGather(setting(), { ...size, format })),
      generateCombine(setting(), { ...size, topK: 3 }),
    ]),
    ...matmuls.flatMap((size) =>
      weightDtypes.flatMap((dtype) => [
        generateGemm(setting(), { ...size, dtype }),
        generateGroupedGemm(setting(), { ...size, dtype, experts: 5 }),
      ]),
    ),
    ...[0, 1, 130].flatMap((rows) =>
      rules.flatMap((gate) => [
        generateRoute(setting(), { rows, rule: gate }),
        generateGroupRows(setting(), { rows, rule: gate }),
      ]),
    ),
    ...mlaSizes.flatMap((size) => generateMla(setting(), size)),
    ...[
      { rows: 0, vocabSize: 9, usable: 9 },
      { rows: 1, vocabSize: 1, usable: 1 },
      { rows: 240, vocabSize: 67, usable: 61 },
      { rows: 60, vocabSize: 2500, usable: 2400 },
    ].map((size) => generateSample(setting(), size)),
  ];
}
