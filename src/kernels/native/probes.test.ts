import assert from "node:assert/strict";
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { loadNative } from "../native-addon.ts";
import { multiplyKinds } from "../policy.ts";
import { Probes } from "./probes.ts";

const { addon, problem } = loadNative();
const skip = problem ?? false;
const folder = mkdtempSync(join(tmpdir(), "daysix-probes-"));
after(() => rmSync(folder, { recursive: true }));

function fileOf(bytes: number): string {
  const file = join(folder, `${bytes}`);
  const descriptor = openSync(file, "w");
  ftruncateSync(descriptor, bytes);
  closeSync(descriptor);
  return file;
}

test("probes measure on every instruction set, with one thread and two", { skip }, () => {
  for (const instructionSet of addon?.instructionSets ?? []) {
    for (const threads of [1, 2]) {
      const probes = new Probes({ threads, instructionSet, file: fileOf(3 * 2 ** 22 + 5) });
      const rates = [
        ...Object.values(probes.multiplyPeaks(6)),
        probes.readBandwidth(2),
        // Slices are counted on around the file's end.
        probes.readBandwidth(2),
        probes.sharedReadBandwidth(2),
      ];
      for (const rate of rates) assert.ok(rate > 0 && rate < 1e6, `${instructionSet}: ${rate}`);
    }
  }
});

test("probes name the instructions that a policy's kernels multiply with", { skip }, () => {
  for (const instructionSet of addon?.instructionSets ?? []) {
    const file = fileOf(2 ** 22);
    const of = (policy: "w8a16" | "int8") =>
      new Probes({ threads: 1, instructionSet, policy, file }).instructions;
    for (const kind of multiplyKinds) assert.match(of("int8")[kind], /\w/);
    const [onTiles, onVectors] = [of("w8a16"), of("int8")];
    assert.equal(onTiles.bf16 === "AMX-BF16", instructionSet === "amx");
    assert.notEqual(onVectors.bf16, "AMX-BF16");
    assert.equal(onVectors.int8 === "AMX-INT8", instructionSet === "amx");
  }
});

test("a probe refuses a file that is shorter than a slice", { skip }, () => {
  const probes = new Probes({ threads: 1, file: fileOf(1000) });
  assert.throws(() => probes.readBandwidth(1), /too little memory/);
});
