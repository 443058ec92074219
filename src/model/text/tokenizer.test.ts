import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import fc from "fast-check";
import { repositoryRoot } from "../fixtures.ts";
import { byteAlphabet } from "./byte-pair-encoding.ts";
import { writeTinyTokenizer } from "./tokenizer-fixtures.ts";
import { hasTokenizer, TokenizerError } from "./tokenizer-file.ts";
import { Tokenizer } from "./tokenizer.ts";

const directory = await mkdtemp(join(tmpdir(), "daysix-tokenizer-"));
after(() => rm(directory, { recursive: true }));
await writeTinyTokenizer(directory);
const tokenizer = await Tokenizer.load(directory);
const plain = (text: string) => tokenizer.encode(text, { specials: false });
const marked = (text: string) => tokenizer.encode(text, { specials: true });

const shared = join(repositoryRoot, "../shared/data");
const deepseek = join(shared, "deepseek-v3-tokenizer");
const vectorsFile = join(shared, "tokenizer-vectors/deepseek_v3_vectors.dev.jsonl");
const noData = existsSync(deepseek) && existsSync(vectorsFile) ? false : "no ../shared/data here";

/** Where JavaScript, Rust and Oniguruma may disagree: spaces that are none, marks, pairs, other people's digits. */
const awkward = fc
  .array(
    fc.constantFrom(
      ..."a B he hello the é ß 1 23 ٣ Ⅷ ½ ! ?! 's ’ 中 龥 龦 ぁ ヿ ー 👍🏽 𝒳 𠮷 $ € _ ﹏ ª ำ ● <｜User｜> <think>".split(
        " ",
      ),
      ...[" ", "  ", " the", "\t", "\n", "\r", "\r\n", "\v", "\f", "\u0000", "\u001c", "\u0085"],
      ...["\u00a0", "\u0301", "\u1680", "\u180e", "\u2003", "\u2028", "\u200b", "\u202f", "\u3000"],
      ...["\ufeff", "\ud7ff"],
    ),
    { maxLength: 14 },
  )
  .map((parts) => parts.join(""));

/** As JSON files, for Hugging Face's own tokenizer, or to change. */
async function files(from: string): Promise<Record<"file" | "config", Record<string, object>>> {
  return {
    file: JSON.parse(await readFile(join(from, "tokenizer.json"), "utf8")),
    config: JSON.parse(await readFile(join(from, "tokenizer_config.json"), "utf8")),
  };
}

async function loadChanged(change: (file: Record<string, object>) => void): Promise<Tokenizer> {
  const folder = await mkdtemp(join(directory, "changed-"));
  const { file } = await files(directory);
  change(file);
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(file));
  return Tokenizer.load(folder);
}

test(
  "DeepSeek-V3's tokenizer gives the recorded tokens of every vector, and gets the text back",
  {
    skip: noData,
  },
  async () => {
    const real = await Tokenizer.load(deepseek);
    assert.deepEqual([real.bos, real.eos, real.vocabSize], [0, 1, 128815]);
    const lines = readFileSync(vectorsFile, "utf8").trim().split("\n");
    assert.equal(lines.length, 309);
    for (const line of lines) {
      const { text, ids } = JSON.parse(line);
      assert.deepEqual(real.encode(text, { specials: true }), ids, text.slice(0, 80));
      assert.equal(real.decode(ids), text);
    }
  },
);

test("awkward text gives the same tokens as Hugging Face's tokenizer", async () => {
  const { file, config } = await files(directory);
  const theirs = new HuggingFaceTokenizer(file, config);
  fc.assert(
    fc.property(awkward, (text) => {
      assert.deepEqual(marked(text), theirs.encode(text, { add_special_tokens: false }).ids);
    }),
    { numRuns: 2000 },
  );
});

test("white space is Unicode's, not JavaScript's", () => {
  // Recorded from the Rust library: U+FEFF is no space, so it goes with the letters after it; U+0085 is one.
  assert.deepEqual(plain(" \ufeff \ufeffhe"), [35, 242, 190, 194, 35, 242, 190, 194, 261]);
  assert.deepEqual(plain("the\u0085\u0085 the"), [259, 104, 197, 136, 197, 136, 35, 259, 104]);
  assert.deepEqual(plain("a\u180e\u180ean"), [100, 228, 163, 145, 228, 163, 145, 264]);
});

test("markers in plain text are letters, and markers where they are asked for", () => {
  const user = tokenizer.specialId("<｜User｜>");
  assert.ok(user !== undefined && tokenizer.isSpecial(user));
  assert.deepEqual(marked("the<｜User｜>"), [...plain("the"), user]);
  const letters = plain("the<｜User｜>");
  assert.ok(!letters.some((token) => tokenizer.isSpecial(token)));
  assert.equal(tokenizer.decode(letters), "the<｜User｜>");
  assert.equal(tokenizer.specialId("the"), undefined);
});

test("no begin-of-sentence token is added", () => {
  assert.deepEqual(marked(""), []);
  assert.equal(tokenizer.bos, 0);
  assert.equal(tokenizer.eos, 1);
  assert.ok(!marked("hello").includes(0));
});

test("decoding gives the text back, whatever it is", () => {
  fc.assert(
    fc.property(fc.oneof(awkward, fc.string({ unit: "grapheme" })), (text) => {
      assert.equal(tokenizer.decode(plain(text)), text);
      assert.equal(tokenizer.decode(marked(text)), text);
    }),
  );
});

test("a token's bytes are its own; an id beyond the vocabulary has none", () => {
  assert.deepEqual([...tokenizer.tokenBytes(plain("中")[0])], [0xe4, 0xb8]);
  assert.deepEqual([...tokenizer.tokenBytes(0)], [...Buffer.from("<｜begin▁of▁sentence｜>")]);
  for (const token of [-1, tokenizer.vocabSize, 2 ** 31]) {
    assert.equal(tokenizer.tokenBytes(token).length, 0);
    assert.equal(tokenizer.decode([token]), "");
  }
});

test("no text has fewer tokens than its minimum", () => {
  fc.assert(
    fc.property(awkward, fc.nat(200), (text, repeats) => {
      const long = text.repeat(repeats);
      assert.ok(tokenizer.minimumTokens(long) <= marked(long).length);
    }),
  );
  assert.ok(tokenizer.minimumTokens("a".repeat(1e6)) > 1e4);
});

test("encoding stops beyond the limit, and only there", () => {
  fc.assert(
    fc.property(awkward, fc.nat(20), fc.boolean(), (text, limit, specials) => {
      const all = tokenizer.encode(text, { specials });
      const some = tokenizer.encode(text, { specials, limit });
      if (all.length <= limit) assert.deepEqual(some, all);
      else assert.ok(some.length > limit);
    }),
  );
  assert.ok(plain("hello ".repeat(1e5)).length > 1e5);
  assert.ok(tokenizer.encode("hello ".repeat(1e5), { specials: false, limit: 10 }).length < 1000);
});

test("a long text has the tokens of its parts, wherever it is divided for matching", () => {
  const unit = "hello the 12345 the's 中文字 𝒳𝒳 ?!\u0301 \u3000 the\r\n\n";
  const tokens = plain(unit);
  const repeats = Math.ceil((2 ** 20 + 100) / unit.length);
  for (let offset = 0; offset < unit.length; offset += 12) {
    const start = "an".repeat(offset);
    const expected = [...plain(start + unit), ...Array(repeats - 1).fill(tokens)].flat();
    assert.deepEqual(plain(start + unit.repeat(repeats)), expected, `offset ${offset}`);
  }
});

test("a very long run of one letter, space, digit or of noise is read within the test's time", () => {
  const noise = Array.from({ length: 2e5 }, (_, index) => "thean"[(index * index) % 5]).join("");
  for (const text of ["a", "th", " ", "\n", "1", "é", "中", "!"].map((part) => part.repeat(2e5))) {
    assert.equal(tokenizer.decode(plain(text)), text);
  }
  assert.equal(tokenizer.decode(plain(noise)), noise);
});

test("six million letters without a break are no stack overflow", () => {
  const text = "中".repeat(6e6);
  assert.ok(tokenizer.encode(text, { specials: false, limit: 1e6 }).length > 1e6);
});

test("pieces that are a token as they stand are not merged where the file says so", async () => {
  const crossed = (ignore_merges: boolean) =>
    loadChanged((file) => {
      // "xyz" can be merged only by way of "yz", which no merge makes.
      const model = file.model as { vocab: Record<string, number>; ignore_merges?: boolean };
      model.vocab.xyz = 400;
      model.ignore_merges = ignore_merges;
    });
  assert.deepEqual((await crossed(true)).encode("xyz", { specials: false }), [400]);
  assert.equal((await crossed(false)).encode("xyz", { specials: false }).length, 3);
});

test("digits can be single, by either way of saying so", async () => {
  for (const stage of [
    { type: "Digits", individual_digits: true },
    { type: "Split", pattern: { Regex: "\\p{N}" }, behavior: "Isolated", invert: false },
  ]) {
    const single = await loadChanged((file) => {
      const { pretokenizers } = file.pre_tokenizer as { pretokenizers: object[] };
      pretokenizers[0] = stage;
      const model = file.model as { vocab: Record<string, number>; merges: string[] };
      model.vocab["12"] = 400;
      model.merges.push("1 2");
    });
    assert.equal(single.encode("12", { specials: false }).length, 2);
  }
});

test("bytes that UTF-8 never has need no token; another is missed where it is met", async () => {
  const without = (...bytes: number[]) =>
    loadChanged((file) => {
      const { vocab } = file.model as { vocab: Record<string, number> };
      for (const byte of bytes) delete vocab[byteAlphabet[byte]];
    });
  const published = await without(0xc0, 0xc1, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xff);
  assert.deepEqual(published.encode("hello é", { specials: false }), plain("hello é"));
  const lacking = await without(0xc3);
  assert.deepEqual(lacking.encode("hello", { specials: false }), plain("hello"));
  assert.throws(() => lacking.encode("é", { specials: false }), /no token for byte 195/);
});

test("one rule says whether a prompt begins with a begin-of-sentence token", async () => {
  assert.deepEqual(tokenizer.encodePrompt("he"), [tokenizer.bos, ...plain("he")]);
  assert.deepEqual(
    tokenizer.encodePrompt("<｜begin▁of▁sentence｜>he"),
    tokenizer.encodePrompt("he"),
  );
  const folder = await mkdtemp(join(directory, "no-bos-"));
  const { file, config } = await files(directory);
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(file));
  const changed = { ...config, add_bos_token: false };
  await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(changed));
  assert.deepEqual((await Tokenizer.load(folder)).encodePrompt("he"), plain("he"));
});

test("a folder without a tokenizer says so by the file's name", async () => {
  const empty = await mkdtemp(join(directory, "empty-"));
  assert.equal(await hasTokenizer(empty), false);
  assert.equal(await hasTokenizer(directory), true);
  await assert.rejects(Tokenizer.load(empty), (error) => {
    return error instanceof TokenizerError && error.message.includes(join(empty, "tokenizer.json"));
  });
});

test("a file that is no tokenizer, or not one of ours, is refused by the field's name", async () => {
  const set = (path: string, value: unknown) => (file: Record<string, object>) => {
    const keys = path.split(".");
    const last = keys.pop() ?? "";
    const target = keys.reduce<Record<string, unknown>>(
      (object, key) => object[key] as Record<string, unknown>,
      file,
    );
    target[last] = value;
  };
  const cases: [string, unknown][] = [
    ["model.type", "Unigram"],
    ["model.byte_fallback", true],
    ["model.end_of_word_suffix", "</w>"],
    ["normalizer", { type: "NFC" }],
    ["pre_tokenizer.pretokenizers.1.behavior", "Removed"],
    ["pre_tokenizer.pretokenizers.3.add_prefix_space", true],
    ["pre_tokenizer", { type: "Metaspace" }],
    ["added_tokens.2.lstrip", true],
    ["model.vocab.a", -1],
    ["model.merges.3", "nobody knows"],
  ];
  for (const [path, value] of cases) {
    await assert.rejects(loadChanged(set(path, value)), (error) => {
      assert.ok(error instanceof TokenizerError, String(error));
      assert.ok(error.message.includes(path), `${error.message} names ${path}`);
      return true;
    });
  }
  const broken = await mkdtemp(join(directory, "broken-"));
  await writeFile(join(broken, "tokenizer.json"), "{");
  await assert.rejects(Tokenizer.load(broken), TokenizerError);
});
