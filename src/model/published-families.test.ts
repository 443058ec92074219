import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { inspectModel, loadChatTemplate, Tokenizer } from "./index.ts";
import { repositoryRoot } from "./fixtures.ts";
import { publishedFamilies, writePublished } from "./published-fixtures.ts";

const root = await mkdtemp(join(tmpdir(), "daysix-published-"));
after(() => rm(root, { recursive: true }));

for (const [i, family] of publishedFamilies.entries()) {
  test(`${family.name}: the published files are read, weights, tokenizer and template`, async () => {
    const directory = join(root, `${i}`);
    await writePublished(directory, family);
    const { config, bytes, formats } = await inspectModel(directory, {
      ...{ verify: false, availableBytes: 0 },
    });
    assert.ok(config.eosTokens.length > 0);
    assert.equal(config.maxPositions, config.indexTopK ?? config.maxPositions);
    assert.equal(bytes.mtp > 0, config.nextTokenLayers > 0);
    const main = { BF16: "BF16", F8_E4M3: "F8_E4M3", "INT4 experts": "I4" }[family.weights];
    assert.ok(Object.hasOwn(formats, main), `${main} of ${Object.keys(formats).join(", ")}`);
    assert.equal(Object.hasOwn(formats, "F8_E4M3"), family.weights === "F8_E4M3");
    const tokenizer = await Tokenizer.load(directory);
    const text = "Hello, it's 2026: 你好, Größe!\n";
    assert.equal(tokenizer.decode(tokenizer.encode(text, { specials: false })), text);
    assert.equal(tokenizer.encodePrompt(text)[0], tokenizer.bos);
    const template = await loadChatTemplate(directory, tokenizer);
    assert.equal(template.family === "none", !family.template);
  });
}

test("the README's table of families has a row for each", async () => {
  const readme = await readFile(join(repositoryRoot, "README.md"), "utf8");
  for (const { name } of publishedFamilies) assert.ok(readme.includes(`| ${name} |`), name);
});
