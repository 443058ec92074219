import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { createReferenceKernels } from "../../kernels/index.ts";
import { fixtureDirectory } from "../fixtures.ts";
import { defaultPolicy } from "./default-policy.ts";
import { quantizeCheckpoint } from "./quantize-checkpoint.ts";

const folder = mkdtempSync(join(tmpdir(), "daysix-policy-"));
after(() => rmSync(folder, { recursive: true }));

test("integer weights are served under int8, others under w8a16", async () => {
  const [k2, fp8] = ["tiny/k2", "tiny/fp8"].map((name) => fixtureDirectory(name) as string);
  assert.equal(await defaultPolicy(k2), "w8a16");
  assert.equal(await defaultPolicy(fp8), "w8a16");
  for (const format of ["int8", "int4"] as const) {
    const options = {
      kernels: createReferenceKernels(),
      format,
      scales: "f32",
      group: 32,
    } as const;
    await quantizeCheckpoint(k2, join(folder, format), options);
    assert.equal(await defaultPolicy(join(folder, format)), "int8");
  }
});
