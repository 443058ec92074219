import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { Tokenizer } from "../text/index.ts";
import { AnswerWalk } from "./grammar-fixtures.ts";
import { type GrammarSource, TokenOrder } from "./index.ts";

const calf = fileURLToPath(new URL("../../../models/calf", import.meta.url));
const tokenizer = await Tokenizer.load(calf);
const end = tokenizer.eos as number;
const order = new TokenOrder(tokenizer, [end]);
const follow = (asked: GrammarSource) => AnswerWalk.of(order, asked)();

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

const beginPerson = AnswerWalk.of(order, source);

test("whatever allowed token is taken, the answer ends in a value of the schema", () => {
  const choices = fc.infiniteStream(fc.nat());
  fc.assert(
    fc.property(choices, (stream) => {
      const tokens = beginPerson().takeAny(stream, 500);
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
  const walk = follow(digits);
  walk.push(tokenizer.encode("1", { specials: false })[0]);
  const may = walk.allowed().filter((token) => token !== end);
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

for (const minItems of [2, 30]) {
  test(`counts far from their bounds share masks, and near them masks are exact: from ${minItems} on`, () => {
    const items = { type: "string", maxLength: 40 };
    const masks = new Set<Uint32Array>();
    const schema = { type: "array", minItems, maxItems: 30, items };
    const walk = follow({ kind: "json", schema });
    for (let item = 0; item < 30; item++) {
      for (const text of [
        item === 0 ? '["' : ',"',
        ...Array<string>(item === 29 ? 40 : 20).fill("b"),
        '"',
      ]) {
        for (const token of tokenizer.encode(text, { specials: false })) {
          masks.add(walk.mask());
          walk.push(token);
        }
      }
      if (item === 1 || item > 27) assert.deepEqual(walk.mask(), walk.exactMask());
    }
    assert.ok(masks.size < 150, `${masks.size} masks`);
  });
}

test("a token that no mask allowed is an error", () => {
  const walk = follow(source);
  const [token] = tokenizer.encode("x", { specials: false });
  assert.throws(() => walk.push(token), /was not allowed/);
});
