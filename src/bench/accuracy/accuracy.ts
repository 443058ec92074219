#!/usr/bin/env node
/**
 * `npm run bench:accuracy -- TEXT`: what formats and policies change. First of calf, whose weights are
 * FP8 by training: how well it foresees a text, what it answers, and where its likeliest token is
 * another than float32's. Then of products of random weights and rows, against float64.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  createKernels,
  createReferenceKernels,
  type Policy,
  type QuantizedDtype,
  type ScaleBlock,
} from "../../kernels/index.ts";
import { quantizeCheckpoint, type QuantizedFormat } from "../../model/index.ts";
import { measureAccuracy } from "./model-accuracy.ts";
import { drawProduct, productError, rowKinds, weightKinds } from "./product-error.ts";
import { heldOutSums } from "./sums.ts";

interface Setting {
  readonly name: string;
  readonly policy: Policy;
  /** What calf is quantised to; undefined as it is. */
  readonly format?: QuantizedFormat;
  readonly dtype: QuantizedDtype;
  readonly block?: ScaleBlock;
}

const settings: readonly Setting[] = [
  { name: "FP8 under w8a16", policy: "w8a16", dtype: "F8_E4M3" },
  { name: "FP8 under w8a8", policy: "w8a8", dtype: "F8_E4M3" },
  { name: "INT8 under w8a16", policy: "w8a16", format: "int8", dtype: "I8" },
  { name: "INT8 under int8", policy: "int8", format: "int8", dtype: "I8" },
  { name: "INT4 in groups of 32", policy: "int8", format: "int4", dtype: "I4", block: [1, 32] },
  { name: "INT4 in groups of 128", policy: "int8", format: "int4", dtype: "I4", block: [1, 128] },
];

const [, , textFile, bytes = "24000"] = process.argv;
if (textFile === undefined) throw new Error("expected a file of text");
const task = {
  text: readFileSync(textFile, "utf8").slice(0, Number(bytes)),
  sums: heldOutSums(60, 1),
};
const calf = fileURLToPath(new URL("../../../models/calf", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "daysix-accuracy-"));
const native = createKernels();
const reference = createReferenceKernels();
/** INT4 is natively refused so far; both have the same bits. */
const kernelsOf = (dtype: QuantizedDtype) => (dtype === "I4" ? reference : native);

async function tellCalf(): Promise<void> {
  console.log("| calf | bits per byte | likeliest tokens as float32's | exact answers |");
  console.log("|---|---|---|---|");
  const exact = await measureAccuracy(calf, { kernels: native, policy: "f32" }, task);
  const row = (name: string, accuracy: typeof exact) => {
    const same = accuracy.likeliest.filter((token, i) => token === exact.likeliest[i]).length;
    const share = ((100 * same) / exact.likeliest.length).toFixed(2);
    const right = `${accuracy.exactAnswers} of ${task.sums.length}`;
    console.log(`| ${name} | ${accuracy.bitsPerByte.toFixed(4)} | ${share} % | ${right} |`);
  };
  row("FP8 under f32", exact);
  for (const { name, policy, format, dtype, block } of settings) {
    const kernels = kernelsOf(dtype);
    const directory = format ? join(folder, name) : calf;
    if (format) {
      const group = block?.[1] ?? 32;
      await quantizeCheckpoint(calf, directory, { kernels, format, scales: "f32", group });
    }
    row(name, await measureAccuracy(directory, { kernels, policy }, task));
  }
}

async function tellProducts(): Promise<void> {
  const pairs = weightKinds.flatMap((weights) => rowKinds.map((rows) => [weights, rows] as const));
  console.log(`| error of products, % | ${pairs.map((pair) => pair.join(" × ")).join(" | ")} |`);
  console.log(`|---|${pairs.map(() => "---").join("|")}|`);
  const products = pairs.map(([weights, rows]) => drawProduct(weights, rows));
  for (const setting of settings) {
    const errors: string[] = [];
    for (const product of products) {
      const options = { kernels: kernelsOf(setting.dtype), policy: setting.policy, folder };
      errors.push((100 * (await productError(product, setting, options))).toFixed(2));
    }
    console.log(`| ${setting.name} | ${errors.join(" | ")} |`);
  }
}

try {
  await tellCalf();
  console.log();
  await tellProducts();
} finally {
  rmSync(folder, { recursive: true });
}
