import assert from "node:assert/strict";
import {
  cpSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { repositoryRoot, tinyFixtures } from "../fixtures.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { modelHash } from "./model-hash.ts";

const scratch = mkdtempSync(join(tmpdir(), "daysix-model-hash-"));
after(() => rmSync(scratch, { recursive: true, force: true }));
let copies = 0;

/** A copy of a two-shard checkpoint that a test may change. */
function copyOfModel(): string {
  const [fixture] = tinyFixtures().filter(({ name }) => name === "fp8");
  const directory = join(scratch, `copy-${copies++}`);
  cpSync(fixture.directory, directory, { recursive: true });
  return directory;
}

/** Changes one byte of a file; negative offsets count from its end. */
function flip(file: string, at: number): void {
  const bytes = readFileSync(file);
  bytes[at < 0 ? bytes.length + at : at] ^= 1;
  writeFileSync(file, bytes);
}

const shards = ["model-00001-of-000002.safetensors", "model-00002-of-000002.safetensors"];

test("a copy elsewhere is the same model", async () => {
  const directory = copyOfModel();
  const before = await modelHash(directory);
  assert.match(before, /^[0-9a-f]{64}$/);
  assert.equal(await modelHash(copyOfModel()), before);
  renameSync(directory, `${directory}-moved`);
  assert.equal(await modelHash(`${directory}-moved`), before);
});

test("the model that comes along keeps its hash, by which caches and packed files of before know it", async () => {
  const calf = join(repositoryRoot, "models/calf");
  const sampled = "0f5b218c49770e69a02b2ad937b2931d20771d5d1b74790d5298ef9039b0b8f8";
  const whole = "037f12215a619719c415d7f5290ba4c8eeceb50ab4b4809df9f969c573acd224";
  assert.deepEqual([await modelHash(calf), await modelHash(calf, "all")], [sampled, whole]);
});

test("another config, tokenizer, template, tensor or weight is another model", async () => {
  const changes: [string, (directory: string) => void][] = [
    ["a config's byte", (directory) => flip(join(directory, "config.json"), 2)],
    ["a tokenizer", (directory) => writeFileSync(join(directory, "tokenizer.json"), "{}")],
    ["a tiktoken.model", (directory) => writeFileSync(join(directory, "tiktoken.model"), "YQ== 0")],
    ["a template", (directory) => writeFileSync(join(directory, "chat_template.jinja"), "")],
    ["the last weight of the first shard", (directory) => flip(join(directory, shards[0]), -1)],
    ["the last weight of the second shard", (directory) => flip(join(directory, shards[1]), -1)],
    ["two shards swapped", swapShards],
  ];
  const hashes = new Set([await modelHash(copyOfModel())]);
  for (const [what, change] of changes) {
    const directory = copyOfModel();
    change(directory);
    const changed = await modelHash(directory);
    assert.ok(!hashes.has(changed), what);
    hashes.add(changed);
  }
});

function swapShards(directory: string): void {
  const index = join(directory, "model.safetensors.index.json");
  const text = readFileSync(index, "utf8");
  writeFileSync(
    index,
    text.replace(/0000(\d)-of/g, (_, i) => `0000${3 - Number(i)}-of`),
  );
  const [first, second] = shards.map((name) => join(directory, name));
  renameSync(first, `${first}.moved`);
  renameSync(second, first);
  renameSync(`${first}.moved`, second);
}

test("zeros in place of any tensor's values are another model", async () => {
  const directory = copyOfModel();
  const before = await modelHash(directory);
  for (const { name, file, offset, bytes } of (await openCheckpoint(directory)).tensors()) {
    const original = readFileSync(file);
    const damaged = Buffer.from(original);
    damaged.fill(0, offset, offset + bytes);
    writeFileSync(file, damaged);
    const isBlank = damaged.equals(original);
    assert.equal((await modelHash(directory)) === before, isBlank, name);
    writeFileSync(file, original);
  }
});

test("a shard whose data is nearly all zeros is another model", async () => {
  const directory = copyOfModel();
  const before = await modelHash(directory);
  const file = join(directory, shards[0]);
  const bytes = readFileSync(file);
  const [first] = [...(await openCheckpoint(directory)).tensors()].filter(
    (tensor) => tensor.file === file,
  );
  bytes.fill(0, first.offset + Math.ceil(bytes.length * 0.013));
  writeFileSync(file, bytes);
  assert.notEqual(await modelHash(directory), before);
});

test("when a file was written does not matter", async () => {
  const directory = copyOfModel();
  const before = await modelHash(directory);
  utimesSync(join(directory, shards[0]), 1, 1);
  assert.equal(await modelHash(directory), before);
});

/** A checkpoint of one tensor, whose values are not looked at. */
function largeTensor(bytes: number): { directory: string; file: string; start: number } {
  const directory = mkdtempSync(join(scratch, "large-"));
  const header = JSON.stringify({ w: { dtype: "U8", shape: [bytes], data_offsets: [0, bytes] } });
  const start = Buffer.alloc(8);
  start.writeBigUInt64LE(BigInt(header.length));
  const file = join(directory, "model.safetensors");
  writeFileSync(file, Buffer.concat([start, Buffer.from(header), Buffer.alloc(bytes, 7)]));
  return { directory, file, start: 8 + header.length };
}

test("a large tensor is sampled from its first to its last byte, a piece for every 4 MiB", async () => {
  const bytes = 9 * 2 ** 20;
  const { directory, file, start } = largeTensor(bytes);
  const before = await modelHash(directory);
  const all = await modelHash(directory, "all");
  assert.notEqual(all, before);
  const step = (bytes - 1024) / 3;
  for (const [at, isSampled] of [
    [0, true],
    [1023, true],
    [1024, false],
    [Math.floor(step) - 1, false],
    [Math.floor(step), true],
    [Math.floor(2 * step) + 1023, true],
    [bytes - 1025, false],
    [bytes - 1, true],
  ] as const) {
    flip(file, start + at);
    assert.equal((await modelHash(directory)) !== before, isSampled, `byte ${at}`);
    assert.notEqual(await modelHash(directory, "all"), all, `byte ${at} of all`);
    flip(file, start + at);
  }
  assert.equal(await modelHash(directory, "all"), all);
});

test("a folder without a checkpoint is named", async () => {
  await assert.rejects(modelHash(scratch), {
    name: "CheckpointError",
    message: /daysix-model-hash/,
  });
});
