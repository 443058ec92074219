import assert from "node:assert/strict";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { WeightReader } from "../../kernels/weight-reader.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { fixtureDirectory, repositoryRoot } from "../fixtures.ts";
import { inspectModel } from "./inspect.ts";
import { CheckpointError, readSafetensors } from "./safetensors.ts";
import { groupOf } from "./tensor-group.ts";

const scratch = mkdtempSync(join(tmpdir(), "daysix-checkpoint-"));
after(() => rmSync(scratch, { recursive: true, force: true }));
let files = 0;

function write(bytes: Uint8Array, name = `file-${files++}.safetensors`): string {
  const file = join(scratch, name);
  writeFileSync(file, bytes);
  return file;
}

/** A file from its header (text or JSON) and data length. */
function safetensors(header: unknown, dataBytes: number): string {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return write(Buffer.concat([length, text, Buffer.alloc(dataBytes)]));
}

const vector = (start: number, end: number, size = (end - start) / 4) => ({
  dtype: "F32",
  shape: [size],
  data_offsets: [start, end],
});

const vectorsFile = join(repositoryRoot, "../shared/data/safetensors/vectors.json");
const skip = existsSync(vectorsFile) ? false : "../shared/data/safetensors is not here";

test("byte vectors of the format's own tests load", { skip }, async () => {
  const vectors = JSON.parse(readFileSync(vectorsFile, "utf8")) as {
    test: string;
    bytes_b64: string;
    expect: string;
  }[];
  for (const { test: name, bytes_b64: bytes, expect } of vectors) {
    const reading = readSafetensors(write(Buffer.from(bytes, "base64")));
    if (expect === "ok") await reading;
    else await assert.rejects(reading, CheckpointError, name);
  }
});

const broken: [string, () => string, RegExp][] = [
  ["an empty file", () => write(Buffer.alloc(0)), /is only 0 bytes long/],
  [
    "a header past the end",
    () => write(Buffer.from([9, 0, 0, 0, 0, 0, 0, 0, 123])),
    /reaches past/,
  ],
  ["a huge header", () => write(Buffer.alloc(8, 0xff)), /header of \d+ bytes is over/],
  ["invalid UTF-8", () => write(Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe])), /UTF-8/],
  ["invalid JSON", () => safetensors("{nope", 0), /not valid JSON/],
  ["a list for a header", () => safetensors([], 0), /not a JSON object/],
  ["a repeated tensor", () => safetensors('{"a":1,"a":2}', 0), /tensor a: .*more than once/],
  [
    "overlapping tensors",
    () => safetensors({ a: vector(0, 8), b: vector(4, 12) }, 12),
    /tensor b: overlaps/,
  ],
  [
    "a hole",
    () => safetensors({ a: vector(0, 4), b: vector(8, 12) }, 12),
    /tensor b: leaves a hole/,
  ],
  [
    "a wrong length",
    () => safetensors({ a: vector(0, 8, 3) }, 8),
    /tensor a: F32 \[3\] takes 12 bytes, but has 8/,
  ],
  ["offsets past the end", () => safetensors({ a: vector(0, 8) }, 4), /tensor a: ends at/],
  ["trailing bytes", () => safetensors({ a: vector(0, 4) }, 9), /5 bytes after its last tensor/],
  ["backward offsets", () => safetensors({ a: vector(8, 0, 2) }, 8), /tensor a: .*run backwards/],
  [
    "a negative side",
    () => safetensors({ a: { ...vector(0, 4), shape: [-1] } }, 4),
    /not a list of sizes/,
  ],
  [
    "an overflowing shape",
    () => safetensors({ a: { ...vector(0, 4), shape: [2 ** 40, 2 ** 40] } }, 4),
    /too large/,
  ],
  [
    "an unknown dtype",
    () => safetensors({ a: { ...vector(0, 4), dtype: "Q4" } }, 4),
    /dtype "Q4" is unknown/,
  ],
  ["wrong metadata", () => safetensors({ __metadata__: { a: 1 } }, 0), /__metadata__/],
  ["a GGUF file", () => write(Buffer.from("GGUF\x03\x00\x00\x00rest")), /is a GGUF file/],
  ["a PyTorch file", () => write(Buffer.from("PK\x03\x04aaaaaaaa")), /is a PyTorch file/],
];

for (const [name, create, message] of broken) {
  test(`${name} is refused with the file's name`, async () => {
    const file = create();
    await assert.rejects(readSafetensors(file), (error: unknown) => {
      assert.ok(error instanceof CheckpointError);
      assert.match(error.message, message);
      assert.ok(error.message.startsWith(file));
      return true;
    });
  });
}

test("a damaged file either reads as tensors inside it or is refused, whatever the damage", async () => {
  const header = { a: vector(0, 8), b: { dtype: "BF16", shape: [2, 3], data_offsets: [8, 20] } };
  const sound = readFileSync(safetensors(header, 20));
  const damage = fc.array(fc.tuple(fc.nat(sound.length - 1), fc.nat(255)), { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(damage, fc.nat(sound.length), async (changes, length) => {
      const bytes = Buffer.from(sound);
      for (const [at, value] of changes) bytes[at] = value;
      const file = write(bytes.subarray(0, changes.length % 2 ? length : bytes.length), "fuzzed");
      const size = readFileSync(file).length;
      try {
        for (const entry of await readSafetensors(file)) {
          assert.ok(entry.offset >= 8 && entry.offset + entry.bytes <= size);
        }
      } catch (error) {
        assert.ok(error instanceof CheckpointError, String(error));
      }
    }),
    { numRuns: 400 },
  );
});

test("offsets beyond 4 GiB are exact", async () => {
  const big = 5 * 2 ** 30;
  const file = safetensors({ a: vector(0, big), b: vector(big, big + 4) }, 0);
  truncateSync(file, readFileSync(file).length + big + 4);
  const [, b] = await readSafetensors(file);
  assert.equal(b.offset - 8 > big, true);
  assert.equal(b.bytes, 4);
});

/** A copy of a fixture, changed. */
function changedFixture(name: string, change: (directory: string) => void): string {
  const directory = join(scratch, `copy-${files++}`);
  cpSync(fixtureDirectory(`tiny/${name}`) as string, directory, { recursive: true });
  change(directory);
  return directory;
}

function editIndex(directory: string, edit: (map: Record<string, string>) => void): void {
  const file = join(directory, "model.safetensors.index.json");
  const index = JSON.parse(readFileSync(file, "utf8"));
  edit(index.weight_map);
  writeFileSync(file, JSON.stringify(index));
}

test("a weight finds its scale in another shard", async () => {
  const checkpoint = await openCheckpoint(fixtureDirectory("tiny/fp8") as string);
  const name = "model.layers.0.self_attn.kv_a_proj_with_mqa.weight";
  const entry = [...checkpoint.tensors()].find((tensor) => tensor.name === name);
  assert.ok(entry);
  const weight = checkpoint.weight(name, entry.shape);
  assert.ok(weight.scale && weight.scale.file !== weight.file);
});

test("missing shards, tensors and scales, and names that leave the folder, are refused", async () => {
  const cases: [(map: Record<string, string>) => void, RegExp][] = [
    [(map) => (map["lm_head.weight"] = "gone.safetensors"), /shard gone.safetensors is missing/],
    [(map) => (map["lm_head.weight"] = "../x.safetensors"), /leaves the folder/],
    [(map) => (map["extra.weight"] = Object.values(map)[0]), /tensor extra.weight: is missing/],
    [(map) => delete map["lm_head.weight"], /tensor lm_head.weight: is missing/],
    [
      (map) => delete map["model.layers.0.self_attn.o_proj.weight_scale_inv"],
      /o_proj.weight: F8_E4M3 without .*weight_scale_inv/,
    ],
  ];
  for (const [edit, message] of cases) {
    const directory = changedFixture("fp8", (copy) => editIndex(copy, edit));
    const opening = inspectModel(directory, { verify: false, availableBytes: 0 });
    await assert.rejects(opening, message);
  }
});

/** A checkpoint of one INT8 weight [300, 256] and its scales. */
async function int8Weight(scaleName: string, dtype: string, shape: readonly number[]) {
  const directory = mkdtempSync(join(scratch, "int8-"));
  const scaleBytes = shape.reduce((a, b) => a * b, dtype === "F32" ? 4 : 2);
  const header = {
    "x.weight": { dtype: "I8", shape: [300, 256], data_offsets: [0, 76_800] },
    [scaleName]: { dtype, shape, data_offsets: [76_800, 76_800 + scaleBytes] },
  };
  cpSync(safetensors(header, 76_800 + scaleBytes), join(directory, "model.safetensors"));
  return (await openCheckpoint(directory)).weight("x.weight", [300, 256]);
}

test("INT8 weights have scales of either name, for blocks, rows, and blocks of a row", async () => {
  for (const [name, dtype, shape] of [
    ["x.weight_scale_inv", "F32", [3, 2]],
    ["x.weight_scale", "BF16", [300, 1]],
    ["x.weight_scale", "F32", [300, 2]],
  ] as const) {
    const { scale } = await int8Weight(name, dtype, shape);
    assert.deepEqual([scale?.name, scale?.dtype, scale?.shape], [name, dtype, shape]);
  }
  await assert.rejects(
    int8Weight("x.weight_scale", "F32", [2, 300]),
    /x.weight_scale: expected shape \[300, 2\] or \[3, 2\] or \[300, 1\], got \[2, 300\]/,
  );
  await assert.rejects(
    int8Weight("x.weight_scale", "F16", [300, 2]),
    /x.weight_scale: expected F32 or BF16, got F16/,
  );
  await assert.rejects(int8Weight("x.scales", "F32", [3, 2]), /I8 without x.weight_scale_inv or x/);
});

test("a wrong shape is refused by tensor, expected and found", async () => {
  const directory = changedFixture("v3", (copy) => {
    const file = join(copy, "config.json");
    const config = JSON.parse(readFileSync(file, "utf8"));
    writeFileSync(file, JSON.stringify({ ...config, vocab_size: 321 }));
  });
  const opening = inspectModel(directory, { verify: false, availableBytes: 0 });
  await assert.rejects(opening, /embed_tokens.weight: expected shape \[321, 64\], got \[320, 64\]/);
});

test("a folder with only GGUF or PyTorch weights is named for what it holds", async () => {
  const directory = mkdtempSync(join(scratch, "gguf-"));
  writeFileSync(join(directory, "model-q4.gguf"), "GGUF");
  await assert.rejects(openCheckpoint(directory), /model-q4.gguf: is a GGUF file/);
  await assert.rejects(openCheckpoint(join(directory, "nowhere")), /not a readable directory/);
});

test("inspect adds up what the files hold and finds a NaN code only when asked to read", async () => {
  const directory = changedFixture("fp8", (copy) => {
    const file = join(copy, "model-00001-of-000002.safetensors");
    const bytes = readFileSync(file);
    const headerLength = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.subarray(8, 8 + headerLength).toString());
    const [name] = Object.keys(header).filter((key) => header[key].dtype === "F8_E4M3");
    bytes[8 + headerLength + header[name].data_offsets[0] + 3] = 0xff;
    writeFileSync(file, bytes);
  });
  const quick = await inspectModel(directory, { verify: false, availableBytes: 4 * 2 ** 30 });
  assert.equal(quick.problems, undefined);
  assert.equal(quick.fits, true);
  const { total, ...groups } = quick.bytes;
  assert.equal(
    Object.values(groups).reduce((a, b) => a + b),
    total,
  );
  assert.deepEqual(Object.keys(quick.formats).toSorted(), ["BF16", "F32", "F8_E4M3"]);
  assert.ok(quick.parameters.activePerToken < quick.parameters.total);
  const { problems } = await inspectModel(directory, { verify: true, availableBytes: 0 });
  assert.equal(problems?.length, 1);
  assert.match(problems[0], /model\.layers.* not a finite number at byte 3/);
});

test("inspect says whether a checkpoint has an MTP layer, which no token reads by itself", async () => {
  const options = { verify: false, availableBytes: 0 };
  const inspection = await inspectModel(fixtureDirectory("mtp") as string, options);
  const { bytes, bytesPerDecodedToken, parameters } = inspection;
  assert.ok(bytes.mtp > 0);
  assert.equal(bytes.unused, 0);
  assert.ok(bytesPerDecodedToken < bytes.total - bytes.embedding - bytes.mtp);
  assert.ok(parameters.activePerToken < parameters.total);
  const without = await inspectModel(fixtureDirectory("tiny/v3") as string, options);
  assert.equal(without.bytes.mtp, 0);
});

test("the copies of embedding and head beside an MTP layer are not used", () => {
  const config = { layers: 61, nextTokenLayers: 1 };
  assert.equal(groupOf("model.layers.61.eh_proj.weight", config), "mtp");
  assert.equal(groupOf("model.layers.61.embed_tokens.weight", config), "unused");
  assert.equal(groupOf("model.layers.61.shared_head.head.weight", config), "unused");
  assert.equal(groupOf("model.layers.62.eh_proj.weight", config), "unused");
  assert.equal(
    groupOf("model.layers.61.eh_proj.weight", { ...config, nextTokenLayers: 0 }),
    "unused",
  );
});

test("codes that are not finite numbers are found and counted in every format", async () => {
  const nonFinite: Record<string, readonly (readonly number[])[]> = {
    F8_E4M3: [[0x7f], [0xff]],
    BF16: [
      [0x80, 0x7f],
      [0x81, 0xff],
    ],
    F32: [
      [0, 0, 0x80, 0x7f],
      [1, 0, 0x80, 0xff],
    ],
  };
  const tensors = new Set<string>();
  const directory = changedFixture("fp8", (copy) => {
    for (const shard of readdirSync(copy).filter((name) => name.startsWith("model-"))) {
      const bytes = readFileSync(join(copy, shard));
      const headerLength = Number(bytes.readBigUInt64LE(0));
      const header = JSON.parse(bytes.subarray(8, 8 + headerLength).toString());
      for (const [dtype, codes] of Object.entries(nonFinite)) {
        const name = Object.keys(header).find((key) => {
          const { dtype: own, shape } = header[key];
          return own === dtype && shape[0] > 1;
        });
        if (name === undefined) continue;
        let at = 8 + headerLength + header[name].data_offsets[1];
        for (const code of codes) bytes.set(code, (at -= code.length));
        tensors.add(name);
      }
      writeFileSync(join(copy, shard), bytes);
    }
  });
  const { problems } = await inspectModel(directory, { verify: true, availableBytes: 0 });
  assert.ok(tensors.size >= 3);
  assert.equal(problems?.length, tensors.size);
  for (const problem of problems) assert.match(problem, /; 2 of \d+ values are none$/);
});

test("scales kept as F8_E8M0 are the powers of two that they say", async () => {
  const codes = Buffer.from([126, 127, 128, 130]);
  const header = {
    "a.weight": { dtype: "F8_E4M3", shape: [256, 256], data_offsets: [0, 65_536] },
    "a.weight_scale_inv": { dtype: "F8_E8M0", shape: [2, 2], data_offsets: [65_536, 65_540] },
    "b.weight": { dtype: "F8_E8M0", shape: [1], data_offsets: [65_540, 65_541] },
  };
  const folder = mkdtempSync(join(scratch, "e8m0-"));
  const file = safetensors(header, 65_541);
  const bytes = readFileSync(file);
  codes.copy(bytes, bytes.length - 5);
  writeFileSync(join(folder, "model.safetensors"), bytes);
  const checkpoint = await openCheckpoint(folder);
  const { scale } = checkpoint.weight("a.weight", [256, 256]);
  assert.deepEqual([...new WeightReader().vector(scale!)], [0.5, 1, 2, 8]);
  assert.throws(() => checkpoint.weight("b.weight", [1]), /F8_E8M0 is not supported for a weight/);
});

test("a language model's tensors are found under the name that a multimodal checkpoint puts first", async () => {
  const folder = mkdtempSync(join(scratch, "wrapped-"));
  const header = { "language_model.model.norm.weight": vector(0, 8), "vision.bias": vector(8, 16) };
  writeFileSync(join(folder, "model.safetensors"), readFileSync(safetensors(header, 16)));
  const checkpoint = await openCheckpoint(folder);
  assert.equal(checkpoint.weight("model.norm.weight", [2]).name, "model.norm.weight");
  assert.ok(checkpoint.has("vision.bias"));
});
