import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { createReferenceKernels } from "../../kernels/index.ts";
import {
  checkpointFormats,
  loadModel,
  modelWeights,
  openCheckpoint,
  readConfig,
  SingleSequence,
} from "../../model/index.ts";
import { cachedCheckpoint } from "./cached-checkpoint.ts";
import { writeRandomCheckpoint } from "./random-checkpoint.ts";
import { shapes } from "./shapes.ts";
import { stepBytes } from "./step-bytes.ts";

const folder = mkdtempSync(join(tmpdir(), "daysix-random-"));
after(() => rmSync(folder, { recursive: true }));
/** A few experts are as random as many, and sooner written. */
const config = { ...shapes.grain, n_routed_experts: 32 };
const fileOf = (directory: string) => join(directory, "model.safetensors");

for (const format of checkpointFormats) {
  test(`a random ${format} checkpoint is a model whose logits are numbers of about its outputs' size`, async () => {
    const directory = join(folder, `grain-${format}`);
    await writeRandomCheckpoint(directory, { config, seed: 3, format });
    const model = await loadModel(directory, {
      kernels: createReferenceKernels(),
      ...{ policy: "int8", maxRows: 8 },
    });
    const logits = await new SingleSequence(model, 8).append([5, 9, 11]);
    const spread = Math.sqrt(logits.reduce((sum, x) => sum + x * x, 0) / logits.length);
    assert.ok(spread > 0.05 && spread < 20, `spread ${spread}`);
  });
}

test("equal shapes and seeds give equal files, other seeds others", async () => {
  const hashes = [];
  for (const [i, seed] of [3, 3, 4].entries()) {
    const directory = join(folder, `seed-${i}`);
    await writeRandomCheckpoint(directory, { config, seed });
    hashes.push(
      createHash("sha256")
        .update(readFileSync(fileOf(directory)))
        .digest("hex"),
    );
  }
  assert.equal(hashes[0], hashes[1]);
  assert.notEqual(hashes[0], hashes[2]);
});

test("the bytes of steps are those of the file", async () => {
  const directory = join(folder, "bytes");
  await writeRandomCheckpoint(directory, { config, seed: 1 });
  const read = await readConfig(directory);
  const bytes = stepBytes(read, modelWeights(await openCheckpoint(directory), read), "w8a16");
  const { size } = statSync(fileOf(directory));
  const header = 8 + Number(readFileSync(fileOf(directory)).readBigUInt64LE());
  const { layers, firstDense, gate, vocabSize } = read;
  const experts = (layers - firstDense) * gate.experts * bytes.expert;
  assert.equal(size - header, bytes.dense + bytes.head + experts + vocabSize * bytes.embedding);
});

test("the cache keeps the last checkpoint, and finds it again", async () => {
  const cache = join(folder, "cache");
  const first = await cachedCheckpoint("grain", 2, "fp8", cache);
  const { ino } = statSync(fileOf(first));
  assert.equal(await cachedCheckpoint("grain", 2, "fp8", cache), first);
  assert.equal(statSync(fileOf(first)).ino, ino);
  const second = await cachedCheckpoint("calf", 2, "int8", cache);
  assert.deepEqual(readdirSync(cache), [second.slice(cache.length + 1)]);
  assert.equal((await readConfig(second)).layers, 2);
});

test("the cache keeps what another user's bench is writing, until that is gone", async (t) => {
  const cache = join(folder, "shared-cache");
  const written = "calf-2-layers-fp8-1.part";
  mkdirSync(join(cache, written), { recursive: true });
  const refused = (code: string) => () => {
    throw Object.assign(new Error(`kill ${code}`), { code });
  };
  const kill = t.mock.method(process, "kill", refused("EPERM"));
  await cachedCheckpoint("grain", 2, "fp8", cache);
  assert.ok(existsSync(join(cache, written)));
  kill.mock.mockImplementation(refused("ESRCH"));
  await cachedCheckpoint("grain", 3, "fp8", cache);
  assert.equal(readdirSync(cache).length, 1);
});
