import assert from "node:assert/strict";
import { test } from "node:test";
import { quantize } from "./quantize.ts";

const cases: readonly [Readonly<Record<string, unknown>>, RegExp][] = [
  [{ to: "int3" }, /^--to: expected fp8, int8, int4, got int3$/],
  [{ to: "int4", group: 64 }, /^--group: expected 32 or 128, got 64$/],
  [{ to: "int8", group: 32 }, /^--group: only INT4/],
  [{ to: "int8", scales: "ue8m0" }, /^--scales: only FP8/],
  [{ to: "fp8", scales: "f16" }, /^--scales: expected f32, ue8m0/],
];

for (const [flags, message] of cases) {
  test(`quantising refuses: ${message.source}`, async () => {
    await assert.rejects(quantize("nowhere", "target", flags), { name: "UsageError", message });
  });
}
