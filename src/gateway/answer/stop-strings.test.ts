import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { StopStrings } from "./stop-strings.ts";

function pushAll(strings: readonly string[], pieces: readonly string[]) {
  const stop = new StopStrings(strings);
  const sent = pieces.map((piece) => stop.push(piece));
  return { text: sent.join("") + stop.end(), sent, matched: stop.matched };
}

/** What is sent when text comes one character at a time and the first completed match ends it. */
function oracle(strings: readonly string[], text: string): { text: string; matched: boolean } {
  for (let end = 1; end <= text.length; end++) {
    const endings = strings.filter((string) => text.slice(0, end).endsWith(string));
    if (endings.length === 0) continue;
    const longest = Math.max(...endings.map((string) => string.length));
    return { text: text.slice(0, end - longest), matched: true };
  }
  return { text, matched: false };
}

const letters = (maxLength: number) =>
  fc.string({ unit: fc.constantFrom("a", "b", "c", "\n", "é"), maxLength });
const stopStrings = fc.array(
  letters(4).filter((string) => string !== ""),
  { maxLength: 4 },
);

test("the answer ends at the same place however the text is cut into pieces", () => {
  fc.assert(
    fc.property(stopStrings, fc.array(letters(5), { maxLength: 12 }), (strings, pieces) => {
      const { text, matched } = pushAll(strings, pieces);
      assert.deepEqual({ text, matched }, oracle(strings, pieces.join("")));
    }),
    { numRuns: 1000 },
  );
});

test("only text that may begin a stop string is held back", () => {
  const stop = new StopStrings(["END", "\n\n"]);
  assert.equal(stop.push("one\n"), "one");
  assert.equal(stop.push("two E"), "\ntwo ");
  assert.equal(stop.push("N"), "");
  assert.equal(stop.push("TER"), "ENTER");
  assert.equal(stop.end(), "");
});

test("nothing after a stop string is let through", () => {
  const stop = new StopStrings(["\n\n"]);
  assert.equal(stop.push("a\n"), "a");
  assert.equal(stop.push("\nb"), "");
  assert.ok(stop.matched);
  assert.equal(stop.push("c") + stop.end(), "");
});
