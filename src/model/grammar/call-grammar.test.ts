import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { OutputParser, Tokenizer, type ToolCallFormat } from "../text/index.ts";
import { callMarkers, formats, gather, written } from "../text/tool-call-fixtures.ts";
import { writeTinyTokenizer } from "../text/tokenizer-fixtures.ts";
import { AnswerWalk } from "./grammar-fixtures.ts";
import { type CalledFunction, type GrammarSource, TokenOrder } from "./index.ts";

const directory = mkdtempSync(join(tmpdir(), "daysix-calls-"));
after(() => rmSync(directory, { recursive: true }));
await writeTinyTokenizer(directory, callMarkers);
const tokenizer = await Tokenizer.load(directory);
const end = tokenizer.eos as number;
const order = new TokenOrder(tokenizer, [end]);

const functions: CalledFunction[] = [
  {
    name: "book",
    isStrict: true,
    parameters: {
      type: "object",
      properties: {
        city: { type: "string", maxLength: 5 },
        day: { enum: ["mon", "tue", "<b>"] },
        seats: { type: "integer", minimum: 1, maximum: 12 },
        note: { type: ["string", "null"], maxLength: 6 },
        tags: { type: "array", items: { type: "string", maxLength: 3 }, maxItems: 2 },
      },
      required: ["city", "seats", "note"],
      additionalProperties: false,
    },
  },
  { name: "now", isStrict: false, parameters: { type: "object", maxProperties: 0 } },
];

const sourceOf = (format: ToolCallFormat, more: object = {}): GrammarSource => ({
  ...{ kind: "calls", format, functions, parallel: true, ...more },
});

const said = (format: ToolCallFormat, tokens: readonly number[]) => {
  const tools = functions.map(({ name, parameters }) => ({ function: { name, parameters } }));
  const options = { startsInReasoning: false, toolCalls: format, tools };
  const parser = new OutputParser(tokenizer, options);
  return gather([...tokens.flatMap((token) => parser.push(token)), ...parser.end()]);
};

function takes(source: GrammarSource, text: string): boolean {
  const walk = AnswerWalk.of(order, source)();
  for (const token of [...tokenizer.encode(text, { specials: true }), end]) {
    if (!walk.allowed().includes(token)) return false;
    if (token !== end) walk.push(token);
  }
  return true;
}

for (const format of formats) {
  test(`${format}: whatever allowed token is taken, the answer is calls as their schemas have them`, () => {
    const begin = AnswerWalk.of(order, sourceOf(format));
    const choices = fc.infiniteStream(fc.nat());
    const property = fc.property(choices, (stream) => {
      // Some hundred tokens a call; now and then twenty calls follow one another.
      const tokens = begin().takeAny(stream, 20_000);
      const { content, calls } = said(format, tokens);
      assert.equal(content, "");
      assert.ok(calls.length > 0);
      for (const { name, arguments: text } of calls) assertFits(name, JSON.parse(text));
    });
    fc.assert(property, { numRuns: 10 });
  });

  test(`${format}: takes what its model was trained to write, and nothing beside`, () => {
    const call = {
      name: "book",
      arguments: { city: "Rome", seats: 2, note: 'a"b\n', tags: ["x"] },
    };
    const source = sourceOf(format);
    assert.ok(takes(source, written[format]([call])));
    assert.ok(takes(source, written[format]([call, { name: "now", arguments: {} }])));
    const wrong: [string, Readonly<Record<string, unknown>>][] = [
      ["cook", call.arguments],
      ["book", { ...call.arguments, seats: 13 }],
      ["book", { ...call.arguments, city: "London" }],
      ["book", { ...call.arguments, more: 1 }],
      ["book", { city: "Rome" }],
    ];
    for (const [name, given] of wrong) {
      assert.ok(!takes(source, written[format]([{ name, arguments: given }])), name);
    }
    assert.ok(!takes(sourceOf(format, { parallel: false }), written[format]([call, call])));
    assert.ok(!takes(source, "Hello"));
  });

  test(`${format}: words may come before calls, or an answer of its own form instead`, () => {
    const call = written[format]([{ name: "now", arguments: {} }]);
    const free = sourceOf(format, { otherwise: "words" });
    assert.ok(takes(free, "Hello <b>, ``` and {"));
    assert.ok(takes(free, `Hello <b>${call}`));
    assert.ok(!takes(free, `Hello${call} and more`));
    assert.ok(!takes(free, `Hello${call.replace("now", "later")}`));
    const held = sourceOf(format, { otherwise: { kind: "json", schema: { type: "array" } } });
    assert.ok(takes(held, "[1, 2]"));
    assert.ok(takes(held, call));
    assert.ok(!takes(held, "Hello"));
  });
}

function assertFits(name: string, given: Record<string, unknown>): void {
  if (name === "now") {
    assert.deepEqual(given, {});
    return;
  }
  assert.equal(name, "book");
  const { city, day, seats, note, tags = [], ...others } = given;
  assert.deepEqual(others, {});
  assert.ok(typeof city === "string" && Array.from(city).length <= 5);
  assert.ok([undefined, "mon", "tue", "<b>"].includes(day as string));
  assert.ok(Number.isInteger(seats) && Number(seats) >= 1 && Number(seats) <= 12);
  assert.ok(note === null || (typeof note === "string" && Array.from(note).length <= 6));
  assert.ok(
    Array.isArray(tags) &&
      tags.every((tag) => typeof tag === "string" && Array.from(tag).length <= 3),
  );
}

test("a strict function that cannot be followed is refused by its name, another takes any object", () => {
  const parameters = { type: "object", properties: { a: { uniqueItems: true } } };
  const source = (isStrict: boolean) =>
    sourceOf("deepseek-v3.1", { functions: [{ name: "f", parameters, isStrict }] });
  assert.throws(() => takes(source(true), ""), {
    message: "f's parameters: #/properties/a/uniqueItems: is not supported",
  });
  const call = written["deepseek-v3.1"]([{ name: "f", arguments: { a: [1, 1], b: { c: 2 } } }]);
  assert.ok(takes(source(false), call));
});
