import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EventScanner } from "./event-scanner.ts";

/** Events found in a text that arrives in chunks of the given lengths, and then the rest. */
function scan(text: string, lengths: readonly number[] = []) {
  const scanner = new EventScanner();
  const bytes = Buffer.from(text);
  const events: unknown[] = [];
  let at = 0;
  for (const length of [...lengths, bytes.length]) {
    events.push(...scanner.push(bytes.subarray(at, at + length)));
    at += length;
  }
  return { events, complete: scanner.complete };
}

const object = fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue({ maxDepth: 3 }));
const events = fc.array(object, { maxLength: 5 });
const space = fc.constantFrom(undefined, 2, "\t");
const chunks = fc.array(fc.nat({ max: 20 }));

test("an array of events is found whole, however it is written and wherever it is cut up", () => {
  fc.assert(
    fc.property(events, space, chunks, (given, indent, lengths) => {
      const text = JSON.stringify(given, null, indent);
      assert.deepEqual(scan(text, lengths), { events: JSON.parse(text), complete: true });
    }),
  );
});

test("so is one under traceEvents, whatever else the object holds", () => {
  fc.assert(
    fc.property(object, events, object, space, chunks, (before, given, after, indent, lengths) => {
      const whole = {
        first: { traceEvents: [before, 1] },
        second: "traceEvents",
        traceEvents: given,
        last: [after],
      };
      const text = JSON.stringify(whole, null, indent);
      const expected = JSON.parse(text) as typeof whole;
      assert.deepEqual(scan(text, lengths), { events: expected.traceEvents, complete: true });
    }),
  );
});

test("of a text that is cut anywhere, the whole events are found", () => {
  fc.assert(
    fc.property(events, fc.nat(), (given, at) => {
      const bytes = Buffer.from(JSON.stringify({ traceEvents: given, traceName: "x" }));
      const scanner = new EventScanner();
      const found = scanner.push(bytes.subarray(0, at % bytes.length));
      assert.equal(scanner.complete, false);
      const expected = JSON.parse(JSON.stringify(given)) as unknown[];
      assert.deepEqual(found, expected.slice(0, found.length));
      assert.deepEqual([...found, ...scanner.push(bytes.subarray(at % bytes.length))], expected);
    }),
  );
});

test("what is not an array of objects is refused where it stops being one", () => {
  const wrong: [string, RegExp][] = [
    ["hello", /at 0$/],
    ['"text"', /at 0$/],
    ["]", /at 0$/],
    ["[] []", /at 3$/],
    ["[{}] x", /at 5$/],
    ["[1]", /at 1$/],
    ["[[]]", /at 1$/],
    ['["a"]', /at 1$/],
    ['{"traceEvents":[{},null]}', /at 19$/],
    ['[{"a" 1}]', /JSON/],
    ["[{]", /JSON/],
  ];
  for (const [text, message] of wrong) {
    assert.throws(() => scan(text, [1, 1]), { name: "SyntaxError", message }, text);
  }
});

test("an event without an end does not fill the memory", () => {
  const scanner = new EventScanner();
  scanner.push(Buffer.from('[{"a":"'));
  const chunk = Buffer.alloc(2 ** 23, "a");
  scanner.push(chunk);
  assert.throws(() => scanner.push(chunk), /an event of more than \d+ bytes/);
});
