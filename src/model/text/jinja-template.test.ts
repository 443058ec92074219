import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Template } from "./jinja-template.ts";
import { type Dict, parseJson, toJson } from "./jinja-values.ts";
import { repositoryRoot } from "../fixtures.ts";

const folder = join(repositoryRoot, "fixtures/chat-templates");
const read = (name: string) => parseJson(readFileSync(join(folder, name), "utf8"));

test("expressions and statements mean what they mean in Python's Jinja", () => {
  const sources = read("expressions.json") as string[];
  const rendered = read("expressions-rendered.json") as Dict;
  const variables = rendered.get("variables") as Dict;
  const texts = rendered.get("texts") as string[];
  for (const [index, source] of sources.entries()) {
    assert.equal(new Template(source).render(variables), texts[index], source);
  }
});

test("what Python refuses is refused", () => {
  for (const source of [
    "{{ 'a' + 1 }}",
    "{{ 'a' + none }}",
    "{{ nothing.b }}",
    "{{ nothing() }}",
    "{{ 1 | no_such }}",
    "{% set x.y = 1 %}",
    "{{ [].pop() }}",
    "{{ raise_exception('no') }}",
  ]) {
    assert.throws(() => new Template(source).render(new Map()), Error, source);
  }
});

test("JSON keeps its digits and its keys' order", () => {
  const text =
    '{"b": 12345678901234567890, "2": 1.0, "1": [-0.5, "\\"}", true, null, {}], "a": "é"}';
  assert.equal(toJson(parseJson(text)), text);
  assert.throws(() => parseJson('{"a": 1'), SyntaxError);
});
