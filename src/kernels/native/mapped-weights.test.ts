import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { truncateSync } from "node:fs";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { randomSource } from "../inputs/index.ts";
import { WeightFolder } from "../testing/weight-folder.ts";
import { createNativeKernels, nativeProblem } from "./native.ts";
import type { Weight } from "../weight.ts";

const skip = nativeProblem() ?? false;

const [child, isSent] = process.argv.slice(2);
if (child === undefined) defineTests();
else await readShrunk(JSON.parse(child) as Weight);

/** A process that reads the end of a mapped file after that was cut off, or was sent the signal. */
async function readShrunk(table: Weight): Promise<void> {
  const stream = createNativeKernels().createStream("f32");
  const [rows, columns] = table.shape;
  const out = new Float32Array(columns);
  const read = async (row: number) => {
    stream.embed(out, table, Int32Array.of(row), 1);
    await stream.fence();
  };
  await read(rows - 1);
  console.log("mapped");
  if (isSent === "sent") process.kill(process.pid, "SIGBUS");
  truncateSync(table.file, 4096);
  await read(rows - 1);
  console.log("not reached");
}

function defineTests(): void {
  const folder = new WeightFolder();
  after(() => folder.remove());

  const run = (weight: Weight, ...more: string[]) =>
    spawnSync(process.execPath, [fileURLToPath(import.meta.url), JSON.stringify(weight), ...more], {
      encoding: "utf8",
      timeout: 60_000,
    });

  test(
    "a mapped file that is cut short ends the process with a line that names it",
    { skip },
    () => {
      const { weight } = folder.create(randomSource(1), "F32", [64, 1024]);
      const { status, signal, stdout, stderr } = run(weight);
      assert.equal(stdout, "mapped\n");
      const size = weight.offset + 4 * 64 * 1024;
      assert.equal(
        stderr,
        `daysix: ${weight.file} has become shorter while it was in use: 4096 bytes instead of ${size}\n`,
      );
      assert.deepEqual([status, signal], [1, null]);
    },
  );

  test(
    "a bus error of somebody else's ends the process as it would without files",
    { skip },
    () => {
      const { weight } = folder.create(randomSource(2), "F32", [64, 1024]);
      const { signal, stdout, stderr } = run(weight, "sent");
      assert.deepEqual([signal, stdout, stderr], ["SIGBUS", "mapped\n", ""]);
    },
  );
}
