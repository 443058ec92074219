import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { Tokenizer } from "../text/index.ts";
import { Grammars, type GrammarSource, Matcher, TokenOrder } from "./index.ts";

const calf = fileURLToPath(new URL("../../../models/calf", import.meta.url));
const tokenizer = await Tokenizer.load(calf);
const end = tokenizer.eos as number;
const grammars = new Grammars(new TokenOrder(tokenizer, [end]));
const plain = { startsInReasoning: false, mayThink: false };

const allowed = (mask: Uint32Array) =>
  Array.from({ length: 32 * mask.length }, (_, token) => token).filter(
    (token) => (mask[token >> 5] >>> (token & 31)) & 1,
  );

const source: GrammarSource = {
  kind: "json",
  schema: {
    type: "object",
    properties: {
      name: { type: "string", maxLength: 8 },
      age: { type: "integer", minimum: 0, maximum: 150 },
      kinds: { type: "array", items: { enum: ["a", "bc", 3] }, maxItems: 3 },
    },
    required: ["name", "age"],
    additionalProperties: false,
  },
};

test("whatever allowed token is taken, the answer ends in a value of the schema", () => {
  const choices = fc.infiniteStream(fc.nat());
  fc.assert(
    fc.property(choices, (stream) => {
      const matcher = new Matcher(grammars, source, plain);
      const tokens: number[] = [];
      for (const choice of stream) {
        const may = allowed(matcher.mask());
        const token = may.includes(end) ? end : may[choice % may.length];
        if (token === end) break;
        tokens.push(token);
        matcher.push(token);
        assert.ok(tokens.length < 500);
      }
      const value = JSON.parse(tokenizer.decode(tokens));
      assert.ok(typeof value.name === "string" && [...value.name].length <= 8);
      assert.ok(Number.isInteger(value.age) && value.age >= 0 && value.age <= 150);
    }),
    { numRuns: 30 },
  );
});

test("a mask has exactly the tokens whose bytes the grammar goes on with", () => {
  const digits: GrammarSource = {
    kind: "json",
    schema: { type: "integer", minimum: 1, maximum: 150 },
  };
  const matcher = new Matcher(grammars, digits, plain);
  matcher.push(tokenizer.encode("1", { specials: false })[0]);
  const may = allowed(matcher.mask()).filter((token) => token !== end);
  const expected = Array.from({ length: tokenizer.vocabSize }, (_, token) => token).filter(
    (token) =>
      /^(?:[0-4]?\d|50)?(?:\.0*)?$/.test(
        tokenizer.isSpecial(token) ? "special" : tokenizer.decode([token]),
      ),
  );
  assert.deepEqual(
    may,
    expected.filter((token) => tokenizer.tokenBytes(token).length > 0),
  );
});

test("thoughts are free until they close, and an answer does not end in them", () => {
  const [open, close] = ["<think>", "</think>"].map((tag) => tokenizer.specialId(tag) as number);
  const thinking = new Matcher(grammars, source, { startsInReasoning: true, mayThink: false });
  assert.equal(allowed(thinking.mask()).includes(end), false);
  assert.ok(allowed(thinking.mask()).length > tokenizer.vocabSize - 3);
  for (const token of tokenizer.encode("words } [", { specials: false })) thinking.push(token);
  thinking.push(close);
  const started = new Matcher(grammars, source, plain);
  assert.deepEqual(thinking.mask(), started.mask());
  assert.ok(!allowed(started.mask()).includes(open));
  const free = new Matcher(grammars, source, { startsInReasoning: false, mayThink: true });
  assert.ok(allowed(free.mask()).includes(open));
  free.push(open);
  assert.ok(allowed(free.mask()).length > tokenizer.vocabSize - 3);
});

test("a token that no mask allowed is an error", () => {
  const matcher = new Matcher(grammars, source, plain);
  const [token] = tokenizer.encode("x", { specials: false });
  assert.throws(() => matcher.push(token), /was not allowed/);
});
