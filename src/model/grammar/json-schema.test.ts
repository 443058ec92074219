import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { compileGrammar } from "./grammar.ts";
import { type SuiteGroup, walks, walkSuite } from "./suite-fixtures.ts";

type Schema = Record<string, unknown>;

const sample = new URL("../../../fixtures/json-schema/suite-sample.json", import.meta.url);

test("of a sample of the test suite no invalid text is allowed and no valid one blocked", () => {
  const groups: SuiteGroup[] = JSON.parse(readFileSync(sample, "utf8"));
  const { refused, wrong, texts } = walkSuite(groups);
  assert.deepEqual(wrong, []);
  assert.ok(texts > 700, `${texts} texts`);
  assert.ok(refused.length <= groups.length / 8, refused.join("\n"));
});

const allows = (schema: Schema, text: string) =>
  walks(compileGrammar({ kind: "json", schema }), text);

test("numbers keep their bounds in every way of writing them", () => {
  const bounded = { type: "integer", minimum: -3, exclusiveMaximum: 20 };
  for (const text of ["-3", "0", "-0", "7", "19", "19.0"]) assert.ok(allows(bounded, text), text);
  for (const text of ["-4", "20", "190", "1e1", "19.5", "+1", "01", "1."]) {
    assert.ok(!allows(bounded, text), text);
  }
  const cents = { minimum: 0.1, multipleOf: 0.05 };
  for (const text of ["0.1", "0.10", "0.15", "12.35"]) assert.ok(allows(cents, text), text);
  for (const text of ["0.05", "0.11", "0.151", "1e0"]) assert.ok(!allows(cents, text), text);
  // Fewer digits than these tell a text from its neighbour's double.
  assert.ok(!allows({ exclusiveMinimum: 3 }, "3.00000000000000000001"));
});

test("a number is begun only where it can be ended", () => {
  const machine = compileGrammar({
    kind: "json",
    schema: { type: "integer", minimum: 17, maximum: 19 },
  });
  assert.equal(machine.step(machine.start, 0x32), -1);
  assert.notEqual(machine.step(machine.start, 0x31), -1);
  assert.equal(machine.step(machine.step(machine.start, 0x31), 0x30), -1);
});

test("members come in any order, a named one once, and only those that may", () => {
  const schema = {
    type: "object",
    properties: { a: { type: "integer" }, 'b"': { type: "boolean" }, c: { const: null } },
    required: ["a", 'b"'],
    additionalProperties: false,
  };
  const good = [
    '{"a":1,"b\\"":true}',
    '{ "b\\"": false, "c": null, "a": 2 }',
    '{\n  "a": 1,\n  "b\\"": true\n}',
  ];
  for (const text of good) assert.ok(allows(schema, text), text);
  const bad = ['{"a":1}', "{}", '{"a":1,"a":2,"b\\"":true}', '{"a":1,"b\\"":true,"d":1}'];
  for (const text of bad) assert.ok(!allows(schema, text), text);
  // An escaped spelling would be another key to a machine, and the same to who parses it.
  assert.ok(!allows({ properties: { a: false } }, '{"\\u0061":1}'));
});

test("strings keep length, pattern and their one spelling where they are compared", () => {
  const dated = { type: "string", pattern: "^\\d{4}-\\d\\d$", maxLength: 7 };
  assert.ok(allows(dated, '"2026-11"'));
  assert.ok(!allows(dated, '"2026-1"'));
  assert.ok(allows({ type: "string", maxLength: 2 }, '"\\ud83d\\ude00💩"'));
  assert.ok(!allows({ type: "string", maxLength: 2 }, '"abc"'));
  assert.ok(!allows({ type: "string" }, '"a\nb"'));
  assert.ok(!allows({ type: "string" }, '"\\ud83d"'));
  assert.ok(allows({ not: { pattern: "a" } }, '"bc"'));
  assert.ok(!allows({ not: { pattern: "a" } }, '"bac"'));
});

test("schemas that hold each other are followed to any depth", () => {
  const schema = {
    $defs: {
      node: {
        type: "object",
        properties: { next: { $ref: "#/$defs/node" } },
        additionalProperties: false,
      },
    },
    $ref: "#/$defs/node",
  };
  const deep = `${'{"next":'.repeat(200)}{}${"}".repeat(200)}`;
  assert.ok(allows(schema, deep));
  assert.ok(!allows(schema, deep.slice(0, -1)));
  const endless = { type: "object", properties: { a: { $ref: "#" } }, required: ["a"] };
  assert.throws(() => allows(endless, ""), /no value is allowed/);
});

test("what cannot be followed is refused by its keyword and place", () => {
  const refused: [Schema, RegExp][] = [
    [
      { properties: { a: { type: "array", uniqueItems: true } } },
      /^#\/properties\/a\/uniqueItems: /,
    ],
    [{ items: { $ref: "http://elsewhere/x" } }, /^#\/items\/\$ref: .* got http:\/\/elsewhere\/x$/],
    [{ items: { $ref: "#/$defs/x" } }, /^#\/items\/\$ref: #\/\$defs\/x is not in this schema$/],
    [{ allOf: [{ unevaluatedProperties: false }] }, /^#\/allOf\/0\/unevaluatedProperties: /],
    [{ type: "text" }, /^#\/type: expected null, .* got "text"$/],
    [{ minLength: -1 }, /^#\/minLength: expected a whole number$/],
    [{ pattern: "(?=a)b" }, /^#\/pattern: looking ahead or behind is not supported, at /],
    [{ not: { multipleOf: 3 } }, /^#\/not: multipleOf cannot be negated$/],
    [{ $ref: "#" }, /^#: refers to itself$/],
    [{ maximum: 1e20 }, /^#\/maximum: expected a bound below /],
    [{ type: "string", minLength: 5, maxLength: 2 }, /no value is allowed/],
  ];
  for (const [schema, message] of refused) {
    assert.throws(() => compileGrammar({ kind: "json", schema }), {
      name: "GrammarError",
      message,
    });
  }
});

test("a schema that would cost too much is refused", () => {
  const wide = Array.from({ length: 40 }, (_, i) => ({
    anyOf: [{ minLength: i }, { minimum: i }],
  }));
  assert.throws(
    () => compileGrammar({ kind: "json", schema: { allOf: wide } }),
    /more than 2000 alternatives|too large/,
  );
});
