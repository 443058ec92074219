import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import type { OutputDelta } from "../../model/index.ts";
import { ChoiceOutput, type ChoiceDelta, type TokenReader } from "./choice-output.ts";
import { StopStrings } from "./stop-strings.ts";

/** Reads token i as the i-th script entry; an empty one stands for half a character. */
function scripted(script: readonly OutputDelta[][]): TokenReader {
  return {
    reasoningTokens: 0,
    push: (token) => script[token],
    end: () => [],
    undecided: true,
  };
}

function read(script: readonly OutputDelta[][], stopStrings: readonly string[]) {
  const output = new ChoiceOutput(scripted(script), new StopStrings(stopStrings));
  const said: ChoiceDelta[] = [];
  for (const token of script.keys()) {
    if (output.stopped) break;
    said.push(
      ...output.push({ kind: "token", token, logprob: 0, top: [], proposed: false, refuted: 0 }),
    );
  }
  said.push(...output.end());
  return said;
}

const content = (text: string): OutputDelta => ({ kind: "content", text });

test("held-back content is told before a tool call, and the call in full", () => {
  const said = read(
    [
      [content("ok\n")],
      [{ kind: "tool-call", index: 0, name: "f" }],
      [{ kind: "tool-arguments", index: 0, text: "{}\n\n" }],
    ],
    ["\n\n"],
  );
  assert.deepEqual(
    said.map((delta) => ("text" in delta ? delta.text : delta.name)),
    ["ok", "\n", "f", "{}\n\n"],
  );
});

test("a token whose text is not told is told with no text", () => {
  const script = [[], [content("a")]];
  const reader = { ...scripted(script), undecided: false };
  const output = new ChoiceOutput(reader, new StopStrings([]));
  const event = { kind: "token", top: [], proposed: false, refuted: 0 } as const;
  assert.deepEqual(output.push({ ...event, token: 0 }), []);
  const [delta] = output.push({ ...event, token: 1 });
  assert.deepEqual("tokens" in delta && delta.tokens.map(({ token }) => token.token), [1]);
});

test("tokens are placed in code points too", () => {
  const said = read([[content("a👍")], [content("b")]], []);
  const placed = said.flatMap((delta) => ("tokens" in delta ? delta.tokens : []));
  assert.deepEqual(
    placed.map(({ start, offset }) => [start, offset]),
    [
      [0, 0],
      [3, 2],
    ],
  );
});

test("stop strings are not searched in reasoning", () => {
  const said = read([[{ kind: "reasoning", text: "a\n\nb" }], [content("c\n\nd")]], ["\n\n"]);
  assert.deepEqual(
    said.map((delta) => [delta.kind, "text" in delta && delta.text]),
    [
      ["reasoning", "a\n\nb"],
      ["content", "c"],
    ],
  );
});

test("each sent character's token is told once, in order, and none that begins after the stop", () => {
  const texts = fc.string({ unit: fc.constantFrom("a", "b", "\n"), maxLength: 3 });
  fc.assert(
    fc.property(
      fc.array(texts, { maxLength: 12 }),
      fc.constantFrom([], ["ab"], ["\n\n", "ba"]),
      (pieces, stops) => {
        const script = pieces.map((text) => (text === "" ? [] : [content(text)]));
        const said = read(script, stops);
        const text = said.map((delta) => ("text" in delta ? delta.text : "")).join("");
        const placed = said.flatMap((delta) => ("tokens" in delta ? delta.tokens : []));
        assert.ok(pieces.join("").startsWith(text));

        // A token of no text begins where the next token's does, and is told with it.
        let start = 0;
        const expected = pieces.flatMap((piece, token) => {
          const at = start;
          start += piece.length;
          const last = pieces.slice(token).every((rest) => rest === "");
          return at < text.length && !last ? [{ token, start: at }] : [];
        });
        assert.deepEqual(
          placed.map(({ token, start: at }) => ({ token: token.token, start: at })),
          expected,
        );
      },
    ),
    { numRuns: 500 },
  );
});
