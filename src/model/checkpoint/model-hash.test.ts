import assert from "node:assert/strict";
import {
  cpSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { tinyFixtures } from "../fixtures.ts";
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

test("another config, tokenizer, template, tensor or weight is another model", async () => {
  const changes: [string, (directory: string) => void][] = [
    ["a config's byte", (directory) => flip(join(directory, "config.json"), 2)],
    ["a tokenizer", (directory) => writeFileSync(join(directory, "tokenizer.json"), "{}")],
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

test("a large weight file is sampled evenly, and not read between the samples", async () => {
  const [fixture] = tinyFixtures().filter(({ name }) => name === "v3");
  const before = await modelHash(fixture.directory);
  const { size } = statSync(join(fixture.directory, "model.safetensors"));
  const changedAt = async (at: number) => {
    const directory = join(scratch, "probed");
    cpSync(fixture.directory, directory, { recursive: true });
    flip(join(directory, "model.safetensors"), at);
    return (await modelHash(directory)) !== before;
  };
  for (const piece of [7, 15, 30]) {
    const start = Math.floor((piece * (size - 4096)) / 31);
    const noticed = [];
    for (const at of [start - 1, start, start + 4095, start + 4096]) {
      noticed.push(await changedAt(at));
    }
    assert.deepEqual(noticed, [false, true, true, false], `around sample ${piece}`);
  }
});

test("a folder without a checkpoint is named", async () => {
  await assert.rejects(modelHash(scratch), {
    name: "CheckpointError",
    message: /daysix-model-hash/,
  });
});
