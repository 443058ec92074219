import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import {
  createKernels,
  createReferenceKernels,
  e4m3Values,
  fromBf16,
  scaleFormats,
  type Policy,
} from "../../kernels/index.ts";
import { openCheckpoint, type Checkpoint } from "./checkpoint.ts";
import { readConfig } from "./config.ts";
import { fixtureDirectory } from "../fixtures.ts";
import { loadModel } from "../graph/model.ts";
import { quantizeCheckpoint } from "./quantize-checkpoint.ts";
import type { TensorEntry } from "./safetensors.ts";
import { writeSafetensors } from "./safetensors-writer.ts";
import { SingleSequence } from "../graph/single-sequence.ts";

const folder = mkdtempSync(join(tmpdir(), "daysix-quantize-"));
after(() => rmSync(folder, { recursive: true }));
const kernels = createKernels();
const options = { kernels, format: "fp8", scales: "f32", group: 32 } as const;

function fixture(name: string): string {
  const directory = fixtureDirectory(`tiny/${name}`);
  assert.ok(directory, name);
  return directory;
}

async function logitsOf(directory: string, policy: Policy = "w8a8"): Promise<Float32Array> {
  const reference = createReferenceKernels();
  const model = await loadModel(directory, { kernels: reference, policy, maxRows: 8 });
  return new SingleSequence(model, 8).append([5, 9, 11, 3]);
}

/** A weight's values, read without the loader. */
function valuesOf(checkpoint: Checkpoint, tensor: string): Float64Array {
  const entries = [...checkpoint.tensors()];
  const entry = entries.find(({ name }) => name === tensor || name === `${tensor}_packed`);
  assert.ok(entry, tensor);
  const bytes = Uint8Array.from(
    readFileSync(entry.file).subarray(entry.offset, entry.offset + entry.bytes),
  );
  if (entry.dtype === "F32") return Float64Array.from(new Float32Array(bytes.buffer));
  if (entry.dtype === "BF16") return Float64Array.from(new Uint16Array(bytes.buffer), fromBf16);
  if (entry.dtype !== "F8_E4M3") return integersOf(checkpoint, tensor, entry, bytes);
  const scales = valuesOf(checkpoint, tensor.replace(/weight$/, "weight_scale_inv"));
  const columns = entry.shape[1];
  const scaleColumns = Math.ceil(columns / 128);
  return Float64Array.from(bytes, (code, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    return e4m3Values[code] * scales[(row >> 7) * scaleColumns + (column >> 7)];
  });
}

function integersOf(
  checkpoint: Checkpoint,
  tensor: string,
  { dtype, shape }: TensorEntry,
  bytes: Uint8Array,
) {
  const scales = valuesOf(checkpoint, `${tensor}_scale`);
  const isPacked = dtype === "I32";
  const rows = shape[0];
  const columns = isPacked ? shapeOf(checkpoint, tensor)[1] : shape[1];
  const bytesPerRow = bytes.length / rows;
  const blocks = scales.length / rows;
  const group = isPacked && blocks === Math.ceil(columns / 32) ? 32 : 128;
  return Float64Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const byte = bytes[row * bytesPerRow + (isPacked ? column >> 1 : column)];
    const code = isPacked ? ((byte >> (4 * (column & 1))) & 15) - 8 : (byte << 24) >> 24;
    return code * scales[row * blocks + Math.floor(column / group)];
  });
}

/** What `weight_shape` says. */
function shapeOf(checkpoint: Checkpoint, tensor: string): number[] {
  const entry = [...checkpoint.tensors()].find(({ name }) => name === `${tensor}_shape`);
  assert.ok(entry, tensor);
  const bytes = readFileSync(entry.file).subarray(entry.offset, entry.offset + entry.bytes);
  return [bytes.readBigInt64LE(0), bytes.readBigInt64LE(8)].map(Number);
}

const l2 = (values: Float64Array) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));

for (const name of ["k2", "v3"]) {
  for (const scales of scaleFormats) {
    test(`${name} quantised with ${scales} scales has its linear weights in FP8, three per cent off`, async () => {
      const target = join(folder, `${name}-${scales}`);
      await quantizeCheckpoint(fixture(name), target, { ...options, scales });
      assert.equal((await readConfig(target)).quantization.scales, scales);
      const [before, quantised] = [
        await openCheckpoint(fixture(name)),
        await openCheckpoint(target),
      ];
      for (const { name: tensor, dtype } of before.tensors()) {
        const expected = valuesOf(before, tensor);
        const actual = valuesOf(quantised, tensor);
        if (!/_proj(_with_mqa)?\.weight$/.test(tensor)) {
          assert.deepEqual(actual, expected, `${tensor}, ${dtype}`);
          continue;
        }
        // Three bits of mantissa: a uniform error of up to 2^-4 of a value has an L2 of 2.65 %.
        const error = l2(actual.map((x, i) => x - expected[i])) / l2(expected);
        assert.ok(error > 0.02 && error < 0.03, `${tensor}: ${error}`);
      }
      assert.ok((await logitsOf(target)).every(Number.isFinite));
    });
  }
}

const integerFormats = [
  // Rounding to the nearest of 254 or 16 steps across some three standard deviations.
  { ...options, format: "int8", dtype: "I8", least: 0.003, most: 0.01 },
  { ...options, format: "int4", dtype: "I4", least: 0.05, most: 0.11 },
  { ...options, format: "int4", group: 128, dtype: "I4", least: 0.06, most: 0.14 },
] as const;

for (const { least, most, dtype, ...each } of integerFormats) {
  const name = `${each.format} in groups of ${each.group}`;
  test(`${name} has integers for all linear weights but kv_b_proj, and tells the error it made`, async () => {
    const target = join(folder, name);
    const groups = await quantizeCheckpoint(fixture("k2"), target, each);
    const [before, quantised] = [await openCheckpoint(fixture("k2")), await openCheckpoint(target)];
    let lost = 0;
    for (const { name: tensor } of before.tensors()) {
      const expected = valuesOf(before, tensor);
      const actual = valuesOf(quantised, tensor);
      if (!/_proj(_with_mqa)?\.weight$|^lm_head/.test(tensor) || tensor.includes("kv_b_proj")) {
        assert.deepEqual(actual, expected, tensor);
        continue;
      }
      const difference = l2(actual.map((x, i) => x - expected[i]));
      const error = difference / l2(expected);
      const isHead = tensor.startsWith("lm_head");
      assert.ok(error > (isHead ? 0.003 : least) && error < most, `${tensor}: ${error}`);
      lost += difference ** 2;
    }
    const told = groups.reduce((sum, group) => sum + group.lost, 0);
    assert.ok(Math.abs(told - lost) < 1e-4 * lost, `${told}, ${lost}`);
    const kinds = groups.map(({ group, dtype: own }) => `${group} ${own}`).toSorted();
    const layers = ["attention", "dense", "routedExperts", "sharedExperts"];
    assert.deepEqual(kinds, [...layers.map((kind) => `${kind} ${dtype}`), "head I8"].toSorted());
    const logits = await logitsOf(target, "int8");
    const original = await logitsOf(fixture("k2"), "int8");
    const change = l2(Float64Array.from(logits, (x, i) => x - original[i]));
    assert.ok(change < 4 * most * l2(Float64Array.from(original)), `${change}`);
  });
}

test("an FP8 checkpoint is quantised by its values, and its kv_b_proj stays FP8", async () => {
  const target = join(folder, "fp8-int8");
  await quantizeCheckpoint(fixture("fp8"), target, { ...options, format: "int8" });
  const [before, quantised] = [await openCheckpoint(fixture("fp8")), await openCheckpoint(target)];
  const dtypes = new Map([...quantised.tensors()].map(({ name, dtype }) => [name, dtype]));
  for (const { name: tensor, dtype } of before.tensors()) {
    if (tensor.endsWith("weight_scale_inv")) {
      assert.equal(dtypes.has(tensor), tensor.includes("kv_b_proj"), tensor);
    } else if (dtype === "F8_E4M3") {
      assert.equal(dtypes.get(tensor), tensor.includes("kv_b_proj") ? dtype : "I8");
      const expected = valuesOf(before, tensor);
      const error = l2(valuesOf(quantised, tensor).map((x, i) => x - expected[i])) / l2(expected);
      assert.ok(error < 0.01, `${tensor}: ${error}`);
    }
  }
});

test("a config's scale_fmt is how w8a8 scales its activations", async () => {
  const target = join(folder, "scaled");
  await quantizeCheckpoint(fixture("k2"), target, { ...options, scales: "ue8m0" });
  const logits = await logitsOf(target);
  const file = join(target, "config.json");
  const config = JSON.parse(readFileSync(file, "utf8"));
  delete config.quantization_config.scale_fmt;
  writeFileSync(file, JSON.stringify(config));
  assert.notDeepEqual(await logitsOf(target), logits);
});

/** A copy of a fixture whose weights lie in two files, `change` applied to each tensor's bytes. */
async function shardedCopy(
  name: string,
  to: string,
  change: (tensor: string, bytes: Buffer) => void,
) {
  const directory = join(folder, to);
  cpSync(fixture(name), directory, { recursive: true });
  const file = readFileSync(join(directory, "model.safetensors"));
  rmSync(join(directory, "model.safetensors"));
  const tensors = [...(await openCheckpoint(fixture(name))).tensors()];
  const weightMap: Record<string, string> = {};
  for (const [i, part] of [tensors.slice(0, 40), tensors.slice(40)].entries()) {
    const shard = `model-0000${i + 1}-of-00002.safetensors`;
    await writeSafetensors(join(directory, shard), part, async (write) => {
      for (const { name: tensor, offset, bytes } of part) {
        const values = file.subarray(offset, offset + bytes);
        change(tensor, values);
        weightMap[tensor] = shard;
        await write(values);
      }
    });
  }
  const index = JSON.stringify({ weight_map: weightMap });
  writeFileSync(join(directory, "model.safetensors.index.json"), index);
  return directory;
}

test("a checkpoint in shards stays in shards, with what lies beside it", async () => {
  const source = await shardedCopy("k2", "shards", () => undefined);
  const target = join(folder, "shards-fp8");
  const written: [number, number][] = [];
  const onProgress = (bytes: number, all: number) => written.push([bytes, all]);
  await quantizeCheckpoint(source, target, { ...options, onProgress });
  assert.deepEqual(
    readdirSync(target),
    readdirSync(source).filter((name) => name !== "golden.safetensors"),
  );
  const sizes = written.map(([bytes]) => bytes);
  assert.deepEqual(
    sizes,
    sizes.toSorted((a, b) => a - b),
  );
  assert.deepEqual(written.at(-1), [sizes.at(-1), sizes.at(-1)]);
  const whole = join(folder, "whole-fp8");
  await quantizeCheckpoint(fixture("k2"), whole, options);
  assert.deepEqual(await logitsOf(target), await logitsOf(whole));
});

test("what cannot be quantised is refused by name and leaves nothing behind", async () => {
  const poisoned = "model.layers.1.self_attn.o_proj.weight";
  const source = await shardedCopy("k2", "poisoned", (tensor, bytes) => {
    if (tensor === poisoned) bytes.writeUInt16LE(0x7fc0, 6);
  });
  const before = readdirSync(folder);
  const refused = (directory: string, target: string, problem: RegExp) =>
    assert.rejects(quantizeCheckpoint(directory, join(folder, target), options), problem);
  await refused(source, "target", /o_proj\.weight: holds a value that is not a finite number/);
  await refused(fixture("fp8"), "target", /is FP8 already/);
  const again = { ...options, format: "int8" } as const;
  await assert.rejects(
    quantizeCheckpoint(join(folder, "fp8-int8"), join(folder, "target"), again),
    /expected BF16, F32 or FP8, got I8/,
  );
  const packed = join(folder, "int4 in groups of 32");
  await refused(packed, "target", /_proj\.weight_packed: is INT4 already/);
  await refused(join(folder, "nowhere"), "target", /nowhere/);
  await refused(fixture("k2"), "poisoned", /poisoned is there already/);
  assert.deepEqual(readdirSync(folder), before);
});

test("a signal ends the writing, and nothing is left of it", async () => {
  const before = readdirSync(folder);
  const stopped = new AbortController();
  let files: string[] = [];
  const quantized = quantizeCheckpoint(fixture("k2"), join(folder, "stopped"), {
    ...{ ...options, signal: stopped.signal },
    onProgress: () => {
      assert.ok(!stopped.signal.aborted, "nothing is written any more");
      files = readdirSync(folder);
      stopped.abort(new Error("stopped"));
    },
  });
  await assert.rejects(quantized, /^Error: stopped$/);
  assert.equal(files.length, before.length + 1);
  assert.deepEqual(readdirSync(folder), before);
});

test("kernels that do not multiply a checkpoint's dtype refuse it by name before they serve it", async () => {
  const without = { ...createReferenceKernels(), unsupported: () => ["I4"] as const };
  const load = (name: string) =>
    loadModel(join(folder, name), { kernels: without, policy: "int8", maxRows: 4 });
  await assert.rejects(
    load("int4 in groups of 32"),
    /_proj\.weight_packed: is I4, which reference kernels do not multiply under int8/,
  );
  await load("fp8-int8");
});
