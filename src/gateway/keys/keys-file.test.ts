import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { digestOf } from "./digest.ts";
import { Keyring } from "./keyring.ts";
import { readKeysFile } from "./keys-file.ts";

const directory = await mkdtemp(join(tmpdir(), "daysix-keys-"));
after(() => rm(directory, { recursive: true }));

async function read(content: unknown) {
  const path = join(directory, "keys.json");
  await writeFile(path, typeof content === "string" ? content : JSON.stringify(content));
  return readKeysFile(path);
}

const ann = { name: "ann", sha256: digestOf("key of ann") };
const bob = { name: "bob", sha256: digestOf("key of bob") };

test("keys open the server for those whose they are, beside a key without a name", async () => {
  const limits = { concurrency: 2, tokens_per_minute: 5, budget: { dollars: "0.5", per: "day" } };
  const keys = await read({ keys: [{ ...ann, ...limits }, bob] });
  const keyring = new Keyring("own", keys, () => 0);
  const nameOf = (key?: string) => keyring.find(key)?.tenant.name;
  assert.deepEqual([nameOf("key of ann"), nameOf("key of bob")], ["ann", "bob"]);
  assert.match(nameOf("own") ?? "", /^key-/);
  for (const key of [undefined, "", "ann", ann.sha256]) assert.equal(nameOf(key), undefined);
  assert.equal(keyring.isOpen, false);
  const open = new Keyring(undefined, [], () => 0);
  assert.deepEqual([open.isOpen, open.find(undefined)?.tenant.name], [true, "default"]);
});

test("a file that cannot be used is refused by its field", async () => {
  const cases: [content: unknown, problem: RegExp][] = [
    ["{", /keys\.json: expected JSON/],
    [{ keys: [] }, /keys\.json: keys: /],
    [{ keys: [{ ...ann, name: "two words" }] }, /keys\[0\]\.name: expected up to 64 letters/],
    [{ keys: [ann, { ...bob, sha256: "key of bob" }] }, /keys\[1\]\.sha256: expected 64 digits/],
    [{ keys: [ann, { ...bob, name: "ann" }] }, /keys\[1\]\.name: another key has the same/],
    [{ keys: [ann, { ...ann, name: "bob" }] }, /keys\[1\]\.sha256: another key has the same/],
    [{ keys: [{ ...ann, sha256: digestOf("") }] }, /keys\[0\]\.sha256: of the empty key/],
    [{ keys: [{ ...ann, concurrency: 0 }] }, /keys\[0\]\.concurrency/],
    [{ keys: [{ ...ann, tokens: 5 }] }, /keys\[0\].*tokens/],
    [{ keys: [{ ...ann, budget: { dollars: "x", per: "day" } }] }, /dollars: expected dollars/],
  ];
  for (const [content, problem] of cases) await assert.rejects(read(content), problem);
  await assert.rejects(readKeysFile(join(directory, "none")), /^KeysFileError: .*ENOENT/);
});
