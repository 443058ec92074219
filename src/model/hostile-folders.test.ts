import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  copyFile,
  mkdir,
  mkdtemp,
  readFile,
  rm,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import {
  loadChatTemplate,
  modelHash,
  openCheckpoint,
  quantizeCheckpoint,
  readConfig,
  Tokenizer,
} from "./index.ts";
import { fixtureDirectory } from "./fixtures.ts";
import { createReferenceKernels } from "../kernels/index.ts";
import { writeTinyTokenizer } from "./text/tokenizer-fixtures.ts";

const root = await mkdtemp(join(tmpdir(), "daysix-hostile-"));
after(() => rm(root, { recursive: true }));

/** A whole checkpoint with a tokenizer. */
async function folder(): Promise<string> {
  const directory = await mkdtemp(join(root, "model-"));
  const source = fixtureDirectory("tiny/v3") ?? "";
  for (const name of ["config.json", "model.safetensors"]) {
    await copyFile(join(source, name), join(directory, name));
  }
  await writeTinyTokenizer(directory);
  return directory;
}

const loadTokenizer = (directory: string) => Tokenizer.load(directory);
const loadTemplate = async (directory: string) =>
  loadChatTemplate(directory, await Tokenizer.load(await folder()));

const readers: [file: string, read: (directory: string) => Promise<unknown>][] = [
  ["config.json", readConfig],
  ["generation_config.json", readConfig],
  ["model.safetensors", openCheckpoint],
  ["model.safetensors.index.json", openCheckpoint],
  ["tokenizer.json", loadTokenizer],
  ["tokenizer_config.json", loadTokenizer],
  ["tokenizer_config.json", loadTemplate],
  ["chat_template.jinja", loadTemplate],
  ["tokenizer.json", modelHash],
];

const refusalOf = (directory: string, file: string) => (error: Error) => {
  assert.ok(error.message.includes(join(directory, file)), `${file}: ${error.message}`);
  assert.ok(!error.message.includes("\n"), error.message);
  return true;
};

test("pipes, directories and devices are refused by name, and nobody waits for them", async () => {
  const makers: ((path: string) => unknown)[] = [
    (path) => execFileSync("mkfifo", [path]),
    (path) => mkdir(path),
    (path) => symlink("/dev/zero", path),
  ];
  for (const [file, read] of readers) {
    for (const make of makers) {
      const directory = await folder();
      await rm(join(directory, file), { force: true });
      await make(join(directory, file));
      await assert.rejects(read(directory), refusalOf(directory, file));
    }
  }
});

test("a file too large for what it is, or no JSON, is refused by name", async () => {
  for (const [file, read] of readers) {
    const directory = await folder();
    await writeFile(join(directory, file), "{");
    await truncate(join(directory, file), 2 ** 31);
    await assert.rejects(read(directory), refusalOf(directory, file));
    if (!file.endsWith(".json")) continue;
    for (const text of ["{", "[".repeat(1e6)]) {
      await writeFile(join(directory, file), text);
      if (read !== modelHash) await assert.rejects(read(directory), refusalOf(directory, file));
    }
  }
});

test("JSON that is deep or full of wrong values is refused by name, for its first fault", async () => {
  const many = (value: string) => `[${`${value},`.repeat(3e5)}${value}]`;
  const keys = Array.from({ length: 1e5 }, (_, key) => `"${key}":[]`).join(",");
  const deep = `${"[".repeat(1e6)}${"]".repeat(1e6)}`;
  const cases: [file: string, read: (directory: string) => Promise<unknown>, text: string][] = [
    ["config.json", readConfig, deep],
    ["generation_config.json", readConfig, `{"eos_token_id":${many('"a"')}}`],
    ["model.safetensors.index.json", openCheckpoint, `{"weight_map":${deep}}`],
    ["model.safetensors.index.json", openCheckpoint, `{"weight_map":{${keys}}}`],
    ["tokenizer.json", loadTokenizer, deep],
    ["tokenizer.json", loadTokenizer, `{"added_tokens":${many("{}")}}`],
    ["tokenizer_config.json", loadTokenizer, `{"bos_token":${deep}}`],
    ["tokenizer_config.json", loadTemplate, `{"chat_template":${many("{}")}}`],
  ];
  for (const [file, read, text] of cases) {
    const directory = await folder();
    await writeFile(join(directory, file), text);
    await assert.rejects(read(directory), refusalOf(directory, file));
  }
});

test("an id that would make tables of gigabytes is refused by name", async () => {
  const changes: ((file: { added_tokens: object[]; model: { vocab: object } }) => unknown)[] = [
    (file) => Object.assign(file.added_tokens[0], { id: 2 ** 31 }),
    (file) => Object.assign(file.model.vocab, { huge: 2 ** 31 }),
    (file) => Object.assign(file.model.vocab, { huge: 2 ** 53 }),
  ];
  for (const change of changes) {
    const directory = await folder();
    const path = join(directory, "tokenizer.json");
    const file = JSON.parse(await readFile(path, "utf8"));
    change(file);
    await writeFile(path, JSON.stringify(file));
    await assert.rejects(Tokenizer.load(directory), refusalOf(directory, "tokenizer.json"));
  }
});

test("quantising copies regular files and leaves out what else is there", async () => {
  const directory = await folder();
  execFileSync("mkfifo", [join(directory, "pipe")]);
  const target = join(root, "quantised");
  await quantizeCheckpoint(directory, target, {
    kernels: createReferenceKernels(),
    ...{ format: "fp8", scales: "f32", group: 32 },
  });
  await Tokenizer.load(target);
});
