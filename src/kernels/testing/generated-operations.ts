import { operandRows, partsOf, type GeneratedOperation } from "./generated-operation.ts";
import {
  floats,
  gaussian,
  gemmInputs,
  groupedGemmInputs,
  inputs,
  integers,
  operandOf,
  outputOperand,
  randomSource,
  storedRows,
  type GeneratorSetting,
  type MatmulSizes,
} from "../inputs/index.ts";
import type { Operand, StoredRows } from "../operand-format.ts";
import { precisions } from "../policy.ts";
import { isPlain } from "../reference/index.ts";
import type { GateRule } from "../stream.ts";
import { SCALE_BLOCK, type WeightDtype } from "../weight-format.ts";

/** Values of every size and sign, denormals and what overflows when multiplied among them. */
function anyValues(random: () => number, count: number, scale = 1): Float32Array {
  return gaussian(random, count, scale).map((x, i) => {
    if (i % 13 === 0) return i % 2 === 0 ? 0 : -0;
    if (i % 17 === 0) return x * 1e-39;
    if (i % 19 === 0) return x * 1e-20;
    if (i % 23 === 0) return x * 30;
    return i % 997 === 0 ? x * 1e37 : x;
  });
}

/** Rows that go through FP8's rarer cases: zeros of both signs, tiny blocks, denormal codes. */
function rareRows(random: () => number, count: number): Float32Array {
  return gaussian(random, count).map((x, i) => {
    if (i % 11 === 0) return i % 2 === 0 ? 0 : -0;
    if (i % 7 === 0) return x * 1e-3;
    if (i % 37 === 0) return x * 1e-39;
    return Math.floor(i / SCALE_BLOCK) % 3 === 1 ? x * 1e-7 : x * 30;
  });
}

interface RowSizes {
  readonly rows: number;
  readonly columns: number;
}

export function generateEmbed(
  { folder, seed }: GeneratorSetting,
  { rows, columns, dtype }: RowSizes & { readonly dtype: WeightDtype },
): GeneratedOperation {
  const random = randomSource(seed);
  const { weight } = folder.create(random, dtype, [37, columns]);
  const tokens = Int32Array.from({ length: rows }, () => Math.floor(random() * 37));
  return {
    ...{ name: "embed", rows, agreement: "exact" },
    enqueue(stream, from = 0, to = rows) {
      const out = floats((to - from) * columns);
      stream.embed(out, weight, tokens.subarray(from, to), to - from);
      return [out];
    },
  };
}

export function generateRmsNorm(
  { folder, seed }: GeneratorSetting,
  { rows, columns, dtype }: RowSizes & { readonly dtype: WeightDtype },
): GeneratedOperation {
  const random = randomSource(seed);
  const { weight } = folder.create(random, dtype, [columns]);
  const x = inputs(anyValues(random, rows * columns, 3));
  return {
    ...{ name: "rmsNorm", rows, agreement: "exact" },
    enqueue(stream, from = 0, to = rows) {
      const out = floats((to - from) * columns);
      stream.rmsNorm(out, x.subarray(from * columns, to * columns), weight, 1e-6, to - from);
      return [out];
    },
  };
}

export function generateAdd({ seed }: GeneratorSetting, sizes: RowSizes): GeneratedOperation {
  const { rows, columns } = sizes;
  const random = randomSource(seed);
  const x = inputs(anyValues(random, rows * columns));
  const y = inputs(anyValues(random, rows * columns));
  return {
    ...{ name: "add", rows, agreement: "exact" },
    enqueue(stream, from = 0, to = rows) {
      const out = floats((to - from) * columns);
      out.set(x.subarray(from * columns, to * columns));
      stream.add(out, y.subarray(from * columns, to * columns), out.length);
      return [out];
    },
  };
}

export function generateSiluMultiply(
  { seed }: GeneratorSetting,
  { rows, columns }: RowSizes,
): GeneratedOperation {
  const random = randomSource(seed);
  const gate = inputs(anyValues(random, rows * columns, 6));
  const up = inputs(anyValues(random, rows * columns));
  return {
    ...{ name: "siluMultiply", rows, agreement: "exact" },
    enqueue(stream, from = 0, to = rows) {
      const out = floats((to - from) * columns);
      const part = (x: Float32Array) => x.subarray(from * columns, to * columns);
      stream.siluMultiply(out, part(gate), part(up), out.length);
      return [out];
    },
  };
}

export function generateQuantize(
  { seed }: GeneratorSetting,
  { rows, columns, format }: RowSizes & { readonly format: Operand["format"] },
): GeneratedOperation {
  const x = inputs(rareRows(randomSource(seed), rows * columns));
  return {
    ...{ name: "quantize", rows, agreement: "exact" },
    enqueue(stream, from = 0, to = rows) {
      const out = outputOperand(format, to - from, columns);
      stream.quantize(out, x.subarray(from * columns, to * columns), to - from);
      return partsOf(out);
    },
  };
}

export function generateGemm(setting: GeneratorSetting, sizes: MatmulSizes): GeneratedOperation {
  const { rows, outputs } = sizes;
  const { weight, x } = gemmInputs(setting, sizes);
  return {
    ...{ name: "gemm", rows },
    agreement: isPlain(x.format, weight.dtype) ? "exact" : { ofMaximum: 1e-6 },
    enqueue(stream, from = 0, to = rows) {
      const out = floats((to - from) * outputs);
      stream.gemm(out, operandRows(x, from, to), weight, to - from);
      return [out];
    },
  };
}

/** Rows spread over `experts` groups, some of which are empty. */
export function generateGroupedGemm(
  setting: GeneratorSetting,
  sizes: MatmulSizes & { readonly experts: number },
): GeneratedOperation {
  const { policy, seed } = setting;
  const { rows, outputs, experts } = sizes;
  const { weights, x } = groupedGemmInputs(setting, sizes);
  const random = randomSource(seed + 1);
  const ends = Int32Array.from({ length: experts - 1 }, () => Math.floor(random() * (rows + 1)));
  const starts = Int32Array.of(0, ...ends.sort(), rows);
  return {
    ...{ name: "groupedGemm", rows },
    agreement: isPlain(x.format, sizes.dtype) ? "exact" : { ofMaximum: 2 ** -8 },
    enqueue(stream, from = 0, to = rows) {
      const out = storedRows(precisions[policy].rows, (to - from) * outputs);
      const part = starts.map((start) => Math.min(Math.max(start, from), to) - from);
      const groups = { starts: part, sources: integers(0), places: integers(0) };
      stream.groupedGemm(out, operandRows(x, from, to), weights, groups, to - from);
      return [out];
    },
  };
}

export function generateRoute(
  { folder, seed }: GeneratorSetting,
  { rows, rule }: { readonly rows: number; readonly rule: GateRule },
): GeneratedOperation {
  const { experts, topK } = rule;
  const random = randomSource(seed);
  const bias =
    rule.method === "noaux_tc" ? folder.create(random, "F32", [experts]).weight : undefined;
  const logits = inputs(anyValues(random, rows * experts, 2));
  return {
    ...{ name: "route", rows, agreement: "exact" },
    enqueue(stream, from = 0, to = rows) {
      const ids = integers((to - from) * topK);
      const weights = floats((to - from) * topK);
      const part = logits.subarray(from * experts, to * experts);
      stream.route(ids, weights, part, bias, rule, to - from);
      return [ids, weights];
    },
  };
}

/** Distinct experts of each row, ascending. */
function randomIds(random: () => number, rows: number, { experts, topK }: GateRule): Int32Array {
  const ids = integers(rows * topK);
  for (let row = 0; row < rows; row++) {
    const order = Array.from({ length: experts }, (_, e) => ({ e, at: random() }));
    const chosen = order.sort((a, b) => a.at - b.at).slice(0, topK);
    ids.set(
      chosen.map(({ e }) => e).sort((a, b) => a - b),
      row * topK,
    );
  }
  return ids;
}

/** Groups all rows: a sort has no rows that could be left out. */
export function generateGroupRows(
  { seed }: GeneratorSetting,
  { rows, rule }: { readonly rows: number; readonly rule: GateRule },
): GeneratedOperation {
  const ids = randomIds(randomSource(seed), rows, rule);
  return {
    ...{ name: "groupRows", rows: 0, agreement: "exact" },
    enqueue(stream) {
      const out = {
        starts: integers(rule.experts + 1),
        sources: integers(rows * rule.topK),
        places: integers(rows * rule.topK),
      };
      stream.groupRows(out, ids, rule, rows);
      return [out.starts, out.sources, out.places];
    },
  };
}

export function generateGather(
  { seed }: GeneratorSetting,
  { rows, columns, format }: RowSizes & { readonly format: Operand["format"] },
): GeneratedOperation {
  const random = randomSource(seed);
  const x = operandOf(random, format, 9, columns);
  const sources = Int32Array.from({ length: rows }, () => Math.floor(random() * 9));
  return {
    ...{ name: "gather", rows, agreement: "exact" },
    enqueue(stream, from = 0, to = rows) {
      const out = outputOperand(format, to - from, columns);
      stream.gather(out, x, sources.subarray(from, to), to - from);
      return partsOf(out);
    },
  };
}

export function generateCombine(
  { policy, seed }: GeneratorSetting,
  { rows, columns, topK }: RowSizes & { readonly topK: number },
): GeneratedOperation {
  const random = randomSource(seed);
  const count = rows * topK;
  const format = precisions[policy].rows;
  const expertRows = operandOf(random, format, count, columns).values as StoredRows;
  const places = Int32Array.from({ length: count }, (_, i) => (i * 7 + 3) % Math.max(1, count));
  const weights = inputs(anyValues(random, count));
  return {
    ...{ name: "combine", rows, agreement: "exact" },
    enqueue(stream, from = 0, to = rows) {
      const out = floats((to - from) * columns);
      const part = [weights, places].map((x) => x.subarray(from * topK, to * topK));
      const [ownWeights, ownPlaces] = part as [Float32Array, Int32Array];
      stream.combine(out, expertRows, ownWeights, ownPlaces, topK, columns, to - from);
      return [out];
    },
  };
}
