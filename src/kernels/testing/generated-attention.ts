import type { GeneratedOperation } from "./generated-operation.ts";
import {
  floats,
  mlaInputs,
  storedRows,
  type GeneratorSetting,
  type MlaSizes,
} from "../inputs/index.ts";
import { precisions } from "../policy.ts";
import { isPlain } from "../reference/index.ts";
import { PAGE_TOKENS } from "../stream.ts";

/** The operations of latent attention on one step, by name. */
export function generateMla(setting: GeneratorSetting, sizes: MlaSizes): GeneratedOperation[] {
  const { policy } = setting;
  const { shape } = sizes;
  const { heads, nope, rope: rotated, value, latent } = shape;
  const { rows, pages, kvB, gain, q, absorbed, x, rope, entries, layoutOf } = mlaInputs(
    setting,
    sizes,
  );
  const width = latent + rotated;
  const queryWidth = heads * (nope + rotated);
  const part = (values: Float32Array, size: number, from: number, to: number) =>
    values.subarray(from * size, to * size);
  return [
    {
      ...{ name: "ropeQuery", rows, agreement: "exact" },
      enqueue(stream, from = 0, to = rows) {
        const out = floats((to - from) * queryWidth);
        out.set(part(q, queryWidth, from, to));
        stream.ropeQuery(out, shape, rope, layoutOf(from, to));
        return [out];
      },
    },
    {
      ...{ name: "writeKv", rows: 0, agreement: "exact" },
      enqueue(stream) {
        const cache = {
          entries: storedRows(precisions[policy].kv, pages * PAGE_TOKENS * width).fill(0),
        };
        stream.writeKv(cache, x, gain, 1e-6, shape, rope, layoutOf(0, rows));
        return [cache.entries];
      },
    },
    {
      ...{ name: "absorbQuery", rows, agreement: { ofMaximum: 1e-6 } },
      enqueue(stream, from = 0, to = rows) {
        const out = floats((to - from) * heads * latent);
        stream.absorbQuery(out, part(q, queryWidth, from, to), kvB, shape, to - from);
        return [out];
      },
    },
    {
      ...{
        name: "attention",
        rows,
        agreement: { relativeL2: 2e-3 },
      },
      enqueue(stream, from = 0, to = rows) {
        const out = floats((to - from) * heads * latent);
        const queries = part(q, queryWidth, from, to);
        const own = part(absorbed, heads * latent, from, to);
        stream.attention(out, own, queries, { entries }, shape, layoutOf(from, to));
        return [out];
      },
    },
    {
      ...{ name: "projectValue", rows },
      agreement: isPlain(precisions[policy].activation, sizes.dtype)
        ? "exact"
        : { ofMaximum: 1e-6 },
      enqueue(stream, from = 0, to = rows) {
        const out = floats((to - from) * heads * value);
        stream.projectValue(out, part(absorbed, heads * latent, from, to), kvB, shape, to - from);
        return [out];
      },
    },
  ];
}
