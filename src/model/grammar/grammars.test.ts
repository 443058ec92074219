import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Tokenizer } from "../text/index.ts";
import { Grammars, type GrammarSource, TokenOrder } from "./index.ts";

const calf = fileURLToPath(new URL("../../../models/calf", import.meta.url));
const tokenizer = await Tokenizer.load(calf);
const order = new TokenOrder(tokenizer, [tokenizer.eos as number]);
const texts = (maxLength: number): GrammarSource => ({
  kind: "json",
  schema: { type: "string", maxLength },
});

test("a grammar that is full is followed to its answer's end, and new answers have one of their own", () => {
  const grammars = new Grammars(order);
  const { id, start } = grammars.open(texts(50_000));
  const tokens = tokenizer.encode(`"${"of many words ".repeat(900)}`, { specials: false });
  let state = start;
  for (const token of tokens) {
    const grammar = grammars.find(id);
    assert.ok(grammar, "it is kept");
    state = grammar.stateAfter(state, token);
    grammar.placeAt(state);
  }
  assert.ok(grammars.find(id)?.isFull);
  const newer = grammars.open(texts(50_000));
  assert.notEqual(newer.id, id);
  assert.equal(grammars.open(texts(50_000)), newer);
  assert.ok(grammars.find(id), "beside the newer one");
  assert.deepEqual(grammars.takeDropped(), []);
});

test("however many grammars there is room for are followed at once, and the one used longest ago gives way", () => {
  const grammars = new Grammars(order);
  const opened = Array.from({ length: 40 }, (_, i) => grammars.open(texts(i + 1)));
  assert.deepEqual(grammars.takeDropped(), []);
  for (const { id } of opened) assert.ok(grammars.find(id));

  const narrow = new Grammars(order, 2 * 2 ** 20);
  const [first, second] = [1, 2].map((length) => narrow.open(texts(length)).id);
  const kept: number[] = [];
  for (let length = 3; length < 20; length++) {
    kept.push(narrow.open(texts(length)).id);
    narrow.find(first);
    const dropped = narrow.takeDropped();
    for (const id of dropped) assert.equal(narrow.find(id), undefined);
    if (dropped.length > 0) assert.ok(dropped.includes(second) || !narrow.find(second));
  }
  assert.ok(narrow.find(first));
  assert.equal(narrow.find(second), undefined);
  assert.ok(narrow.find(kept.at(-1)));
});
