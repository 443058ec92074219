import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fixtureDirectory } from "../fixtures.ts";
import { Tokenizer } from "./tokenizer.ts";
import { TokenizerError } from "./tokenizer-file.ts";

const fixture = fixtureDirectory("kimi-tokenizer") ?? "";
const tokenizer = await Tokenizer.load(fixture);
const root = await mkdtemp(join(tmpdir(), "daysix-tiktoken-"));
after(() => rm(root, { recursive: true }));

test("tiktoken.model gives the tiktoken library's tokens of every vector, and gets the text back", async () => {
  const { vectors } = JSON.parse(await readFile(join(fixture, "vectors.json"), "utf8")) as {
    vectors: { text: string; ids: number[] }[];
  };
  for (const { text, ids } of vectors) {
    assert.deepEqual(tokenizer.encode(text, { specials: false }), ids, JSON.stringify(text));
    assert.equal(tokenizer.decode(ids), text);
  }
});

test("added_tokens_decoder has the markers that tiktoken.model lacks", () => {
  const [bos, eos] = [356, 357];
  assert.equal(tokenizer.bos, bos);
  assert.equal(tokenizer.eos, eos);
  assert.equal(tokenizer.specialId("<|im_middle|>"), 361);
  assert.deepEqual(tokenizer.encode("a<|im_end|>", { specials: true }), [97, 358]);
  assert.deepEqual(tokenizer.encodePrompt("a"), [bos, 97]);
  assert.deepEqual(tokenizer.encodePrompt("[BOS]a"), [bos, 97]);
});

test("a tiktoken.model that is none is refused by its line", async () => {
  const lines = (await readFile(join(fixture, "tiktoken.model"), "utf8")).split("\n");
  for (const wrong of ["no base64!", "YQ==", "YQ== -1", "YQ== 99999999", "YQ== 1.5"]) {
    const folder = await mkdtemp(join(root, "wrong-"));
    await cp(fixture, folder, { recursive: true });
    await writeFile(join(folder, "tiktoken.model"), lines.with(2, wrong).join("\n"));
    await assert.rejects(Tokenizer.load(folder), (error) => {
      return error instanceof TokenizerError && /tiktoken\.model: line 3/.test(error.message);
    });
  }
});
