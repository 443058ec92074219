import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { Detokenizer } from "./detokenizer.ts";
import { writeTinyTokenizer } from "./tokenizer-fixtures.ts";
import { Tokenizer } from "./tokenizer.ts";

const directory = await mkdtemp(join(tmpdir(), "daysix-detokenizer-"));
after(() => rm(directory, { recursive: true }));
await writeTinyTokenizer(directory);
const tokenizer = await Tokenizer.load(directory);

function stream(tokens: readonly number[]): string[] {
  const detokenizer = new Detokenizer(tokenizer);
  return [...tokens.map((token) => detokenizer.push(token)), detokenizer.end()];
}

/** Any bytes, so mostly no UTF-8, with bytes that begin characters more often than by chance. */
const anyTokens = fc.array(
  fc.oneof(
    fc.nat(tokenizer.vocabSize),
    fc.constantFrom(0xc3, 0xe4, 0xb8, 0xf0, 0x9f, 0x91, 0xef, 0xbb, 0xbf).map((byte) => byte + 3),
  ),
  { maxLength: 30 },
);

test("what is streamed is what decoding all bytes at once gives, valid or not", () => {
  fc.assert(
    fc.property(anyTokens, (tokens) => {
      assert.equal(stream(tokens).join(""), tokenizer.decode(tokens));
    }),
    { numRuns: 3000 },
  );
});

test("characters come whole, with the token that completes them", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const tokens = tokenizer.encode(text, { specials: false });
      for (const part of stream(tokens)) assert.ok(!/\p{Cs}/u.test(part) && text.includes(part));
      assert.equal(stream(tokens).join(""), text);
    }),
  );
  const thumb = tokenizer.encode("👍", { specials: false });
  assert.deepEqual(stream(thumb), ["", "", "", "👍", ""]);
});

test("an unfinished character comes to U+FFFD at the end, and the next text is untouched by it", () => {
  const [first] = tokenizer.encode("中", { specials: false });
  const detokenizer = new Detokenizer(tokenizer);
  assert.equal(detokenizer.push(first), "");
  assert.equal(detokenizer.end(), "\ufffd");
  assert.equal(detokenizer.push(tokenizer.encode("a", { specials: false })[0]), "a");
  assert.equal(detokenizer.end(), "");
});

test("a byte order mark is a character like others", () => {
  assert.equal(stream(tokenizer.encode("\ufeffa", { specials: false })).join(""), "\ufeffa");
});
