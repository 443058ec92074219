import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readGgufFileInfo } from "node-llama-cpp";
import { array, bool, bytesOf, f32, string, u32, writeGguf } from "./gguf.mjs";

const folder = mkdtempSync(join(tmpdir(), "daysix-gguf-"));
after(() => rmSync(folder, { recursive: true }));

test("node-llama-cpp reads what was written", async () => {
  const path = join(folder, "some.gguf");
  const metadata = {
    "general.architecture": string("deepseek2"),
    "some.count": u32(7),
    "some.scale": f32(0.5),
    "some.flag": bool(true),
    "some.names": array("string", ["a", "ü"]),
    "some.numbers": array("i32", [1, -2]),
  };
  const tensors = [
    { name: "odd.weight", type: "F32", shape: [3] },
    { name: "linear.weight", type: "Q8_0", shape: [64, 5] },
    { name: "half.weight", type: "BF16", shape: [7, 2, 3] },
  ];
  const asked = [];
  await writeGguf(path, metadata, tensors, ({ name }, bytes) => {
    asked.push([name, bytes]);
    return Buffer.alloc(bytes, 1);
  });
  assert.deepEqual(
    asked,
    tensors.map((tensor) => [tensor.name, bytesOf(tensor)]),
  );
  const info = await readGgufFileInfo(path, { sourceType: "filesystem" });
  assert.equal(info.metadata.general.architecture, "deepseek2");
  assert.deepEqual(info.metadata.some, {
    ...{ count: 7, scale: 0.5, flag: true, names: ["a", "ü"], numbers: [1, -2] },
  });
  const read = info.fullTensorInfo.map(({ name, dimensions, ggmlType, fileOffset }) => ({
    ...{ name, dimensions: dimensions.map(Number), ggmlType, aligned: Number(fileOffset) % 32 },
  }));
  assert.deepEqual(read, [
    { name: "odd.weight", dimensions: [3], ggmlType: 0, aligned: 0 },
    { name: "linear.weight", dimensions: [64, 5], ggmlType: 8, aligned: 0 },
    { name: "half.weight", dimensions: [7, 2, 3], ggmlType: 30, aligned: 0 },
  ]);
});
