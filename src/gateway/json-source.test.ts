import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readSource, sourceOf, writeJson } from "./json-source.ts";

test("objects are written as they were read, with every digit, wherever they stand", () => {
  const text = '{ "id": 1234567890123456789, "ratio": 1.0 }';
  const input = readSource(text);
  assert.equal(sourceOf(input), text);
  assert.equal(sourceOf({ a: 1 }), '{"a":1}');
  assert.equal(
    writeJson({ a: [input, { b: input }], c: "1" }),
    `{"a":[${text},{"b":${text}}],"c":"1"}`,
  );
});

test("all else is written as JSON.stringify writes it, whatever texts look like", () => {
  const likeMarks = fc.constantFrom('"\\ud8000"', "\\ud8000", '\\"\\ud8000"', "\ud7ff0");
  const values = fc.dictionary(fc.oneof(likeMarks, fc.string()), fc.oneof(likeMarks, fc.json()));
  const property = fc.property(values, (value) => {
    assert.equal(writeJson(value), JSON.stringify(value));
    const around = writeJson({ value, input: readSource("{}") });
    assert.equal(around, `{"value":${JSON.stringify(value)},"input":{}}`);
  });
  fc.assert(property);
});
