import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { apiKeyOf } from "./api-key.ts";

const directory = await mkdtemp(join(tmpdir(), "daysix-api-key-"));
after(() => rm(directory, { recursive: true }));

const fileOf = async (text: string) => {
  const path = join(directory, "key");
  await writeFile(path, text);
  return path;
};

const typed = (apiKey: string) => apiKeyOf({ apiKey }, { argv: ["--api-key", apiKey], env: {} });
const from = (apiKeyFile: string, env = {}) => apiKeyOf({ apiKeyFile }, { argv: [], env });

test("the key is that of the option, of the file, or of the environment", async () => {
  const env = { DAYSIX_API_KEY: "of-environment" };
  assert.equal(await apiKeyOf({}, { argv: [], env: {} }), undefined);
  assert.equal(await apiKeyOf({}, { argv: [], env }), "of-environment");
  assert.equal(await typed("k1"), "k1");
  assert.equal(await from(await fileOf("of-file\n"), env), "of-file");
});

test("a key is what was typed, whatever number it may look like", async () => {
  for (const key of ["0123", "12345678901234567890", "1e3"]) {
    assert.equal(await typed(key), key);
    const argv = ["--api-key", "old", `--api-key=${key}`];
    assert.equal(await apiKeyOf({ apiKey: Number(key) }, { argv, env: {} }), key);
  }
  assert.equal(await typed("a=b="), "a=b=");
});

test("the option may be spelt as the parser does, and is refused by name where it has no key", async () => {
  const of = (...argv: string[]) => apiKeyOf({ apiKey: "" }, { argv, env: {} });
  assert.equal(await of("serve", "--apiKey", "k1"), "k1");
  assert.equal(await of("--api-key", "old", "--apiKey=k=2"), "k=2");
  for (const argv of [["k1", "--no-api-key"], ["--api-key"]]) {
    await assert.rejects(of(...argv), {
      name: "UsageError",
      message: "--api-key: expected --api-key KEY",
    });
  }
});

test("an empty key is refused, wherever it comes from, and never means that there is none", async () => {
  await assert.rejects(typed(""), /^UsageError: --api-key: .* got nothing/);
  const env = { DAYSIX_API_KEY: "" };
  await assert.rejects(apiKeyOf({}, { argv: [], env }), /DAYSIX_API_KEY: .* got nothing/);
  for (const text of ["", "\n \n", "two words", "a\nb"]) {
    await assert.rejects(from(await fileOf(text)), /--api-key-file: .*key/);
  }
  await assert.rejects(from(join(directory, "none")), /ENOENT/);
  const argv = ["--api-key", "a"];
  const both = apiKeyOf({ apiKey: "a", apiKeyFile: "b" }, { argv, env: {} });
  await assert.rejects(both, /expected none beside/);
});
