import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { createKernels, e4m3Values, fromBf16, scaleFormats } from "../../kernels/index.ts";
import { openCheckpoint, type Checkpoint } from "./checkpoint.ts";
import { readConfig } from "./config.ts";
import { fixtureDirectory } from "../fixtures.ts";
import { loadModel } from "../graph/model.ts";
import { quantizeCheckpoint } from "./quantize-checkpoint.ts";
import { writeSafetensors } from "./safetensors-writer.ts";
import { SingleSequence } from "../graph/single-sequence.ts";

const folder = mkdtempSync(join(tmpdir(), "daysix-quantize-"));
after(() => rmSync(folder, { recursive: true }));
const kernels = createKernels();
const options = { kernels, scales: "f32" } as const;

function fixture(name: string): string {
  const directory = fixtureDirectory(`tiny/${name}`);
  assert.ok(directory, name);
  return directory;
}

async function logitsOf(directory: string): Promise<Float32Array> {
  const model = await loadModel(directory, { kernels, policy: "w8a8", maxRows: 8 });
  return new SingleSequence(model, 8).append([5, 9, 11, 3]);
}

/** A BF16, float32 or FP8 tensor's values, read without the loader. */
function valuesOf(checkpoint: Checkpoint, tensor: string): Float64Array {
  const entry = [...checkpoint.tensors()].find(({ name }) => name === tensor);
  assert.ok(entry, tensor);
  const bytes = Uint8Array.from(
    readFileSync(entry.file).subarray(entry.offset, entry.offset + entry.bytes),
  );
  if (entry.dtype === "F32") return Float64Array.from(new Float32Array(bytes.buffer));
  if (entry.dtype === "BF16") return Float64Array.from(new Uint16Array(bytes.buffer), fromBf16);
  const scales = valuesOf(checkpoint, tensor.replace(/weight$/, "weight_scale_inv"));
  const columns = entry.shape[1];
  const scaleColumns = Math.ceil(columns / 128);
  return Float64Array.from(bytes, (code, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    return e4m3Values[code] * scales[(row >> 7) * scaleColumns + (column >> 7)];
  });
}

const l2 = (values: Float64Array) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));

for (const name of ["k2", "v3"]) {
  for (const scales of scaleFormats) {
    test(`${name} quantised with ${scales} scales has its linear weights in FP8, three per cent off`, async () => {
      const target = join(folder, `${name}-${scales}`);
      await quantizeCheckpoint(fixture(name), target, { kernels, scales });
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

test("a config's scale_fmt is how w8a8 scales its activations", async () => {
  const target = join(folder, "scaled");
  await quantizeCheckpoint(fixture("k2"), target, { kernels, scales: "ue8m0" });
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
  const written: string[] = [];
  await quantizeCheckpoint(source, target, { ...options, onFile: (name) => written.push(name) });
  assert.deepEqual(
    readdirSync(target),
    readdirSync(source).filter((name) => name !== "golden.safetensors"),
  );
  assert.deepEqual(
    written,
    readdirSync(target).filter((name) => name.endsWith(".safetensors")),
  );
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
  await refused(join(folder, "nowhere"), "target", /nowhere/);
  await refused(fixture("k2"), "poisoned", /poisoned is there already/);
  assert.deepEqual(readdirSync(folder), before);
});
