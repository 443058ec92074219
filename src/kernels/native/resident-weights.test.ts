import assert from "node:assert/strict";
import { rmSync, utimesSync, writeFileSync } from "node:fs";
import { after, test } from "node:test";
import { gaussian, randomSource } from "../inputs/index.ts";
import { WeightFolder } from "../testing/weight-folder.ts";
import { createNativeKernels, nativeProblem } from "./native.ts";
import { hugePageBytes, residentWeights } from "./resident-weights.ts";
import { createKernels } from "../create-kernels.ts";
import { storedOperand } from "../quantize.ts";
import type { Kernels } from "../stream.ts";
import type { Weight } from "../weight.ts";

const skip = nativeProblem() ?? false;
const folder = new WeightFolder();
after(() => folder.remove());

/** All rows of a table. */
async function rowsOf(kernels: Kernels, table: Weight): Promise<Float32Array> {
  const [rows, columns] = table.shape;
  const out = new Float32Array(rows * columns);
  const stream = kernels.createStream("f32");
  stream.embed(
    out,
    table,
    Int32Array.from({ length: rows }, (_, row) => row),
    rows,
  );
  await stream.fence();
  stream.close();
  return out;
}

// The first, since copies of kernels that nobody has any more may go while a later test counts.
test("mapped weights are no copies, and multiply to the same bits", { skip }, async () => {
  const { weight } = folder.create(randomSource(2), "F8_E4M3", [300, 520]);
  const values = gaussian(randomSource(3), 4 * 520);
  const before = residentWeights().bytes;
  const multiply = async (kernels: Kernels) => {
    const out = new Float32Array(4 * 300);
    const stream = kernels.createStream("f32");
    stream.gemm(out, storedOperand(values, 520), weight, 4);
    await stream.fence();
    stream.close();
    return out;
  };
  const mapped = await multiply(createNativeKernels({ weights: "mapped" }));
  assert.equal(residentWeights().bytes, before);
  const resident = createNativeKernels({ weights: "resident" });
  resident.load([weight.file, weight.scale!.file]);
  assert.deepEqual(await multiply(resident), mapped);
  assert.ok(residentWeights().bytes > before);
});

test("a copy holds a file's every byte, once for all kernels", { skip }, async () => {
  // More than threads read at once, and not in whole pages.
  const { weight, values } = folder.create(randomSource(1), "F32", [1201, 4099]);
  const before = residentWeights().bytes;
  const [first, second] = [0, 1].map(() => createNativeKernels({ weights: "resident" }));
  first.load([weight.file]);
  second.load([weight.file]);
  const { bytes, hugePageBytes: huge } = residentWeights();
  assert.equal(bytes - before, 3 + 4 * values.length);
  assert.ok(huge === undefined || huge <= bytes);
  assert.deepEqual(await rowsOf(second, weight), Float32Array.from(values));
});

test(
  "a file that was made anew under its name and number is copied anew, and so is a changed one",
  { skip },
  async () => {
    const { weight, values } = folder.create(randomSource(5), "F32", [3, 5]);
    const old = createNativeKernels({ weights: "resident" });
    old.load([weight.file]);
    assert.deepEqual(await rowsOf(old, weight), Float32Array.from(values));
    const other = Float32Array.from(values, (x) => x + 1);
    const bytes = Buffer.concat([Buffer.alloc(weight.offset), Buffer.from(other.buffer)]);
    for (const replace of [() => rmSync(weight.file), () => utimesSync(weight.file, 1, 1)]) {
      replace();
      // A file system is quick to give a number again.
      writeFileSync(weight.file, bytes);
      const next = createNativeKernels({ weights: "resident" });
      next.load([weight.file]);
      assert.deepEqual(await rowsOf(next, weight), other);
      other.forEach((x, i) => (other[i] = x + 1));
      bytes.set(Buffer.from(other.buffer), weight.offset);
    }
    assert.deepEqual(await rowsOf(old, weight), Float32Array.from(values));
  },
);

test("a file that is not there is named", { skip }, () => {
  for (const weights of ["mapped", "resident"] as const) {
    assert.throws(() => createNativeKernels({ weights }).load(["/nowhere/shard"]), {
      message: "/nowhere/shard: No such file or directory",
    });
  }
});

test("the reference has no resident weights", () => {
  const before = process.env["DAYSIX_ISA"];
  process.env["DAYSIX_ISA"] = "reference";
  try {
    assert.equal(createKernels({ weights: "mapped" }).name, "reference");
    assert.throws(() => createKernels({ weights: "resident" }), /^RangeError: --weights resident/);
  } finally {
    if (before === undefined) delete process.env["DAYSIX_ISA"];
    else process.env["DAYSIX_ISA"] = before;
  }
});

test("huge pages are counted in the areas that begin in the weights", () => {
  const smaps = [
    "7f0000000000-7f0000400000 r--p 00000000 00:00 0 ",
    "Size:               4096 kB",
    "AnonHugePages:      4096 kB",
    "7f0000400000-7f0000800000 r--p 00000000 00:00 0 ",
    "AnonHugePages:      2048 kB",
    "7f0000800000-7f0000a00000 rw-p 00000000 00:00 0 ",
    "AnonHugePages:      2048 kB",
    "",
  ].join("\n");
  const memory = [
    { address: 0x7f0000000000, size: 0x3ffff1 },
    { address: 0x7f0000400000, size: 0x3fffff },
  ];
  assert.equal(hugePageBytes(smaps, memory), 6144 * 1024);
  assert.equal(hugePageBytes(smaps, memory.slice(1)), 2048 * 1024);
  assert.equal(hugePageBytes(smaps, []), 0);
  assert.equal(hugePageBytes(undefined, memory), undefined);
});
