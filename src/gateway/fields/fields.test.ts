/** `node fields.test.js --write` writes docs/request-fields.md anew. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import type { z } from "@hono/zod-openapi";
import { createDialects } from "../dialects/index.ts";
import * as wire from "../wire.ts";
import { completionFields, detokenizeFields, tokenizeFields } from "./completion-fields.ts";
import { FieldCheck } from "./field-check.ts";
import { done, type Field, type FieldSources, harmless, refused } from "./field.ts";

const { dialects, countings } = createDialects();

/** Every endpoint that takes a body. */
const endpoints: readonly { path: string; schema: z.ZodType; fields: FieldSources }[] = [
  ...[...dialects, ...countings].map(({ path, schema, fields }) => ({
    path: `/v1${path}`,
    schema,
    fields,
  })),
  { path: "/v1/completions", schema: wire.completionRequest, fields: completionFields },
  { path: "/tokenize", schema: wire.tokenizeRequest, fields: tokenizeFields },
  { path: "/detokenize", schema: wire.detokenizeRequest, fields: detokenizeFields },
];

const page = new URL("../../../docs/request-fields.md", import.meta.url);

const fate = ({ fate: name, neutral }: Field) => {
  if (name !== "refused" || neutral.length === 0) return name;
  return `refused, but for ${neutral.map((value) => `\`${JSON.stringify(value)}\``).join(", ")}`;
};

function describe({ path, fields }: (typeof endpoints)[number]): string[] {
  const rows = Object.entries(fields).flatMap(([source, table]) =>
    Object.entries(table).map(
      ([name, field]) => `| \`${name}\` | ${source} | ${fate(field)} | ${field.note} |`,
    ),
  );
  return [`## \`${path}\``, "", "| field | of | | |", "|---|---|---|---|", ...rows, ""];
}

const written = `# Fields of requests

**done**: it means what its API says. **harmless**: it is accepted and makes no difference. **refused**: a
400 names it, since an answer that ignored it would look right and be wrong; \`null\` is always accepted.
Any other field is accepted, named in the answer's header \`x-ignored-fields\` and once in the log; with
\`--strict\` it is refused. Made of \`src/gateway/fields\`: \`node dist/gateway/fields/fields.test.js --write\`.

${endpoints.flatMap(describe).join("\n")}`;

test("the documentation has what the tables say", () => {
  if (process.argv.includes("--write")) writeFileSync(page, written);
  assert.equal(readFileSync(page, "utf8"), written);
});

/** Names of an object's fields by what is looked at: those of the request itself. */
const topLevel = (fields: FieldSources, wanted: Field["fate"]) =>
  Object.values(fields)
    .flatMap((table) => Object.entries(table))
    .filter(([name, field]) => field.fate === wanted && !/[.[]/.test(name))
    .map(([name]) => name)
    .sort();

for (const { path, schema, fields } of endpoints) {
  test(`${path}: what is done is read, and nothing else`, () => {
    assert.deepEqual(topLevel(fields, "done"), Object.keys((schema as z.ZodObject).shape).sort());
  });

  test(`${path}: each field has one fate`, () => {
    const names = Object.values(fields).flatMap((table) => Object.keys(table));
    assert.equal(new Set(names).size, names.length);
  });

  test(`${path}: what is refused is refused by its name, and harmless values are not`, () => {
    const check = new FieldCheck(fields);
    const tables = Object.values(fields).flatMap((table) => Object.entries(table));
    for (const [name, { fate: wanted, neutral }] of tables) {
      if (/[.[]/.test(name)) continue;
      const sent = (value: unknown) => check.unknownFields({ [name]: value }, true);
      for (const value of [null, ...neutral]) assert.deepEqual(sent(value), []);
      if (wanted === "refused") {
        assert.throws(() => sent("something else"), {
          status: 400,
          code: "unsupported_parameter",
          param: name,
        });
      } else assert.deepEqual(sent("something"), []);
    }
  });
}

const check = new FieldCheck({
  here: {
    messages: done(),
    "messages[].role": done(),
    "messages[].audio": refused("no ears"),
    "messages[].content": done(),
    "messages[].content[].text": done(),
    schema: done(),
    options: harmless("nothing"),
    "options.usage": done(),
  },
});

test("fields that nobody knows are told by their paths, once each, and refused if that is asked for", () => {
  const body = {
    messages: [
      { role: "user", content: "a", mood: 1 },
      { role: "user", mood: 2, content: [{ text: "a", "x-ü y": 1 }] },
    ],
    schema: { properties: { any: 1 } },
    options: { usage: true, more: 1 },
    constructor: 1,
  };
  const unknown = ["messages[].mood", "messages[].content[].x-? y", "options.more", "constructor"];
  assert.deepEqual(
    check.unknownFields(body, false),
    unknown.map((name) => name.replace(" ", "?")),
  );
  assert.throws(() => check.unknownFields(body, true), {
    code: "unknown_parameter",
    param: "messages[0].mood",
  });
  assert.equal(check.unknownFields(Object.fromEntries(Array(99).entries()), false).length, 16);
});

test("a refused field is named with its place", () => {
  const body = { messages: [{ role: "user" }, { role: "user", audio: {} }] };
  assert.throws(() => check.unknownFields(body, false), {
    param: "messages[1].audio",
    message: "messages[1].audio: no ears",
  });
});
