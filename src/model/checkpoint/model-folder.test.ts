import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readConfig } from "./config.ts";
import { readSafetensors } from "./safetensors.ts";

const root = await mkdtemp(join(tmpdir(), "daysix-folder-"));
after(() => rm(root, { recursive: true }));

async function folderOf(...names: string[]): Promise<string> {
  const directory = await mkdtemp(join(root, "model-"));
  for (const name of names) await writeFile(join(directory, name), "x");
  return directory;
}

const wrong: [what: string, make: () => Promise<string>, says: RegExp][] = [
  ["a path that is not there", async () => join(root, "none"), /none: there is no such folder$/],
  [
    "a name of the hub",
    async () => "moonshotai/Moonlight-16B-A3B@main",
    /no such folder; .*download it first: daysix pull moonshotai\/Moonlight-16B-A3B@main$/,
  ],
  ["an empty folder", () => folderOf(), /the folder is empty/],
  ["a folder of GGUF", () => folderOf("model-Q4_K.gguf"), /model-Q4_K.gguf is a GGUF file/],
  ["a GGUF file", async () => join(await folderOf("a.gguf"), "a.gguf"), /a.gguf: is a GGUF file/],
  [
    "a weight file",
    async () => join(await folderOf("a.safetensors"), "a.safetensors"),
    /is a file/,
  ],
  ["a folder of PyTorch", () => folderOf("pytorch_model.bin"), /pytorch_model.bin is a PyTorch/],
  [
    "an adapter",
    () => folderOf("adapter_config.json", "README.md"),
    /adapter_config.json is of an/,
  ],
  ["a folder of something else", () => folderOf("README.md"), /has no config.json/],
  [
    "the hub's cache of a model",
    async () => {
      const directory = await folderOf();
      await mkdir(join(directory, "snapshots"));
      return directory;
    },
    /is the hub's cache of a model/,
  ],
];

for (const [what, make, says] of wrong) {
  test(`${what} is named for what it is`, async () => {
    await assert.rejects(readConfig(await make()), says);
  });
}

const standIns: [what: string, text: string, says: RegExp][] = [
  [
    "a Git LFS pointer",
    "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 15097700\n",
    /is a Git LFS pointer, .*git lfs pull/,
  ],
  ["a web page", "<!DOCTYPE html><html><body>Not found", /is a web page/],
];

for (const [what, text, says] of standIns) {
  test(`${what} in place of a config or a shard is named for what it is`, async () => {
    const directory = await folderOf();
    const shard = join(directory, "model.safetensors");
    for (const name of ["config.json", "model.safetensors"]) {
      await writeFile(join(directory, name), text);
    }
    await assert.rejects(readConfig(directory), says);
    await assert.rejects(readSafetensors(shard), says);
  });
}
