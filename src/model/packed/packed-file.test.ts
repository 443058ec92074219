import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdtemp, open, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { createKernels, nativeProblem, policies } from "../../kernels/index.ts";
import { backends } from "../../kernels/testing/fixtures.ts";
import { readSafetensors } from "../checkpoint/safetensors.ts";
import { fixtureDirectory, tinyFixtures } from "../fixtures.ts";
import { loadModel, SingleSequence } from "../graph/index.ts";
import { packedFile, PackedFile } from "./packed-file.ts";
import { onVectors, packedOf } from "./packer-fixtures.ts";

const skip = nativeProblem() ?? false;
const scratch = await mkdtemp(join(tmpdir(), "daysix-packed-"));
after(() => rm(scratch, { recursive: true, force: true }));

const fp8 = fixtureDirectory("tiny/fp8") as string;
const int4 = fixtureDirectory("tiny/k2") as string;
const newFolder = () => mkdtemp(join(scratch, "folder-"));

async function written(directory: string, folder: string): Promise<PackedFile> {
  const file = await packedOf(directory, folder);
  assert.ok(file);
  await file.write(() => undefined);
  return file;
}

test(
  "a file is that of the machine's kernels, and a model known by all bytes has its own",
  { skip },
  async () => {
    const model = { modelDirectory: int4, policy: "int8" } as const;
    const file = await packedFile("folder", model);
    const kernels = createKernels();
    assert.deepEqual(file, await packedOf(int4, "folder", { kernels, policy: "int8" }));
    assert.ok(file);
    assert.notEqual((await packedFile("folder", { ...model, modelBytes: "all" }))?.path, file.path);
  },
);

for (const { name: backend, create } of backends) {
  for (const policy of policies) {
    test(`${backend} under ${policy} computes the same bits of packed weights as of a checkpoint's rows`, async () => {
      const folder = await newFolder();
      let packedModels = 0;
      for (const { directory, tokens, greedy } of tinyFixtures()) {
        const kernels = create();
        const packed = await packedOf(directory, folder, { kernels, policy });
        if (!packed) continue;
        await packed.write(() => undefined);
        packedModels++;
        const [rows, strips] = await Promise.all(
          [undefined, packed.path].map(async (path) => {
            const model = await loadModel(directory, {
              kernels,
              policy,
              maxRows: 64,
              packed: path,
            });
            const sequence = new SingleSequence(model, tokens.length + greedy.length);
            const prompt = (await sequence.append(tokens)).slice();
            const decoded = [];
            for (const token of greedy.slice(0, 4))
              decoded.push(...(await sequence.append([token])));
            return { prompt, decoded };
          }),
        );
        assert.deepEqual(strips, rows, directory);
      }
      const likesStrips = create().stripDtypes(policy).length > 0;
      assert.equal(packedModels > 0, likesStrips);
    });
  }
}

test(
  "a packed file has every linear weight and nothing else, and what it takes is known before",
  { skip },
  async () => {
    const file = await written(fp8, await newFolder());
    const tensors = await readSafetensors(file.path);
    assert.equal(
      tensors.reduce((sum, { bytes }) => sum + bytes, 0),
      file.bytes,
    );
    const names = tensors.map(({ name }) => name);
    assert.ok(names.includes("lm_head.weight"));
    assert.ok(names.includes("model.layers.1.mlp.experts.0.up_proj.weight"));
    assert.ok(!names.some((name) => /embed_tokens|norm|kv_b_proj|gate\.weight/.test(name)));
    assert.deepEqual(
      tensors.filter(({ offset }) => offset % 64 !== 0),
      [],
    );
    assert.equal(await file.state(), "sound");
  },
);

test("what a packed file holds is what is multiplied", { skip }, async () => {
  const kernels = createKernels();
  const file = await written(int4, await newFolder());
  const logits = async () => {
    const model = await loadModel(int4, { kernels, policy: "int8", maxRows: 8, packed: file.path });
    return new SingleSequence(model, 8).append([1, 2, 3]);
  };
  const sound = (await logits()).slice();
  const [{ offset, bytes }] = await readSafetensors(file.path);
  await damage(file.path, offset, Buffer.alloc(bytes, 0x3c));
  assert.notDeepEqual(await logits(), sound);
  // Deleted while a server runs whose ranks may start anew.
  await rm(file.path);
  assert.deepEqual(await logits(), sound);
});

async function damage(path: string, at: number, bytes: Uint8Array): Promise<void> {
  const handle = await open(path, "r+");
  await handle.write(bytes, 0, bytes.length, at);
  await handle.close();
}

test(
  "damage to a file is noticed: changed, zeroed, cut, of another model, or no packed file at all",
  { skip },
  async () => {
    const folder = await newFolder();
    const file = await written(fp8, folder);
    const sound = join(scratch, "sound");
    await copyFile(file.path, sound);
    const tensors = await readSafetensors(file.path);
    const { size } = await stat(sound);
    const other = await written(int4, folder);
    const damages: [string, () => Promise<void>, RegExp][] = [
      ...tensors.map(({ name, offset, bytes }): [string, () => Promise<void>, RegExp] => [
        name,
        () => damage(file.path, offset + bytes - 1, Buffer.of(0xa5)),
        /is damaged/,
      ]),
      ["zeros", () => damage(file.path, 4096, Buffer.alloc(size - 4096)), /is damaged|JSON/],
      ["cut", () => truncate(file.path, size - 1), /past the file's/],
      ["empty", () => truncate(file.path, 0), /0 bytes/],
      ["text", () => writeFile(file.path, "<html>".repeat(99)), /web page/],
      ["of another model", () => copyFile(other.path, file.path), /is of other weights/],
    ];
    for (const [what, harm, problem] of damages) {
      await copyFile(sound, file.path);
      assert.equal(await file.state(), "sound");
      await harm();
      const state = await file.state();
      assert.ok(typeof state === "object", what);
      assert.match(state.problem, problem, what);
    }
    await file.write(() => undefined);
    assert.equal(await file.state(), "sound");
    await rm(file.path);
    assert.equal(await file.state(), "absent");
  },
);

test(
  "a file under another's name is damaged, though its tensors are the same",
  { skip },
  async () => {
    const folder = await newFolder();
    const file = await written(fp8, folder);
    const identity = async () => ({ modelHash: "f".repeat(64), modelBytes: "sample" as const });
    const other = await PackedFile.of(fp8, folder, onVectors, identity);
    await copyFile(file.path, other!.path);
    assert.deepEqual(await other!.state(), { problem: "is damaged" });
  },
);

/** A process that packs, and may be killed by itself in the middle. */
async function packer(folder: string, kill: boolean): Promise<NodeJS.Signals | number> {
  const program = fileURLToPath(new URL("./packer-fixtures.js", import.meta.url));
  const child = fork(program, [fp8, folder, ...(kill ? ["kill"] : [])], { execArgv: [] });
  const [code, signal] = (await once(child, "exit")) as [number, NodeJS.Signals];
  return signal ?? code;
}

test("a packer that is killed leaves a part, which the next one removes", { skip }, async () => {
  const folder = await newFolder();
  assert.equal(await packer(folder, true), "SIGKILL");
  const [part, ...others] = await readdir(folder);
  assert.match(part, /\.\d+\.\w+\.part$/);
  assert.deepEqual(others, []);
  const file = await written(fp8, folder);
  assert.deepEqual(await readdir(folder), [basename(file.path)]);
  assert.equal(await file.state(), "sound");
});

test("processes that pack at once leave one sound file", { skip }, async () => {
  const folder = await newFolder();
  const ends = await Promise.all([1, 2, 3].map(() => packer(folder, false)));
  assert.deepEqual(ends, [0, 0, 0]);
  const names = await readdir(folder);
  assert.equal(names.length, 1);
  assert.equal(await (await packedOf(fp8, folder))?.state(), "sound");
});
