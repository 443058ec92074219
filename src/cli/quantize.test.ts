import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fixtureDirectory } from "../model/fixtures.ts";
import { quantize } from "./quantize.ts";
import { signalsOf, terminalOf } from "./terminal-fixtures.ts";

const cases: readonly [Readonly<Record<string, unknown>>, RegExp][] = [
  [{ to: "int3" }, /^--to: expected fp8, int8 or int4, got int3$/],
  [{ to: "int4", group: 64 }, /^--group: expected 32 or 128, got 64$/],
  [{ to: "int8", group: 32 }, /^--group: only INT4/],
  [{ to: "int8", scales: "ue8m0" }, /^--scales: only FP8/],
  [{ to: "fp8", scales: "f16" }, /^--scales: expected f32 or ue8m0, got f16/],
];

for (const [flags, message] of cases) {
  test(`quantising refuses: ${message.source}`, async () => {
    await assert.rejects(quantize("nowhere", "target", flags), { name: "UsageError", message });
  });
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test(`${signal} ends the quantising, leaves nothing, and has a line of its own`, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "daysix-quantize-"));
    t.after(() => rm(folder, { recursive: true }));
    const target = join(folder, "target");
    const written = terminalOf(t);
    const send = signalsOf(t);
    const quantized = quantize(fixtureDirectory("tiny/k2") as string, target, { to: "fp8" });
    send(signal);
    await assert.rejects(quantized, { message: `stopped; ${target} was not written` });
    assert.equal(written.at(-1), "\r\x1b[K");
    assert.deepEqual(await readdir(folder), []);
  });
}
