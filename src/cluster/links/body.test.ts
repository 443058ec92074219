import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeBody, encodeBody } from "./body.ts";
import { FrameError } from "./frame.ts";

const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null)),
    fc.oneof(
      fc.uint8Array(),
      fc.int16Array(),
      fc.int32Array(),
      fc.uint32Array(),
      fc.float64Array({ noDefaultInfinity: false }),
    ),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(fc.stringMatching(/^[a-z]+$/), tie("value"), {
      maxKeys: 4,
      noNullPrototype: true,
    }),
  ),
})).value;

test("a body arrives as it was, with its arrays of numbers, NaN and views of buffers among them", () => {
  fc.assert(fc.property(value, (body) => assert.deepEqual(decodeBody(encodeBody(body)), body)));
  const view = Uint32Array.from({ length: 20 }, (_, i) => i).subarray(3, 7);
  assert.deepEqual(decodeBody(encodeBody({ view })), { view: Uint32Array.of(3, 4, 5, 6) });
});

test("token ids take four bytes each", () => {
  const prompt = new Uint32Array(160_000).fill(129_279);
  assert.ok(encodeBody({ prompt }).length < 4 * prompt.length + 100);
});

test("bytes that are no body are refused, whatever they name", () => {
  const encoded = Buffer.from(encodeBody({ prompt: Uint32Array.of(1, 2, 3) }));
  const text = (body: string) => {
    const bytes = Buffer.from(`\0\0\0\0${body}`);
    bytes.writeUInt32BE(body.length);
    return bytes;
  };
  const wrong: [bytes: Uint8Array, message: RegExp][] = [
    [Buffer.alloc(0), /expected JSON/],
    [Buffer.of(255, 255, 255, 255, 0), /expected JSON/],
    [text("{"), /expected JSON/],
    [encoded.subarray(0, -1), /an array is cut short/],
    [Buffer.concat([encoded, Buffer.alloc(1)]), /bytes are left/],
    [text('{"$bytes":["Uint32Array",1e9]}'), /an array is cut short/],
    [text('{"$bytes":["Uint32Array",-1]}'), /type and length/],
    [text('{"$bytes":["constructor",1]}'), /type and length/],
    [text('{"$bytes":null}'), /expected JSON/],
  ];
  for (const [bytes, message] of wrong) {
    assert.throws(() => decodeBody(bytes), { name: "FrameError", message });
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      try {
        decodeBody(bytes);
      } catch (error) {
        assert.ok(error instanceof FrameError);
      }
    }),
  );
});
