import assert from "node:assert/strict";
import { test } from "node:test";
import { findExcess, requestBounds } from "./json-bounds.ts";

const bounds = { nesting: 4, members: 3, allMembers: 10, allElements: 200 };

/** A text that counts how often one of its characters is read. */
function counted(text: string) {
  const characters = {
    reads: 0,
    length: text.length,
    charCodeAt(at: number) {
      characters.reads++;
      return text.charCodeAt(at);
    },
    indexOf(character: string, from: number) {
      const at = text.indexOf(character, from);
      characters.reads += (at < 0 ? text.length : at) - from + 1;
      return at;
    },
    slice: (start: number, end: number) => text.slice(start, end),
  };
  return characters;
}

test("what is within its bounds passes, whatever its strings hold", () => {
  const texts = [
    "{}",
    "[[[[]]]]",
    '{"a":1,"b":[1,2,3],"c":{"d":"]]]]]["}}',
    `[${"1,".repeat(100)}-2.5e3]`,
    String.raw`["\"[[[[[[", "\\", "{,,,,,,,\\\""]`,
    '{"a":null,"b":true,"c":false}',
  ];
  for (const text of texts) {
    JSON.parse(text);
    assert.equal(findExcess(text, bounds), undefined, text);
  }
});

test("too many members are told with the path of what has them", () => {
  const cases: [text: string, path: PropertyKey[], message: string][] = [
    ['{"a":1,"b":2,"c":3,"d":4}', [], "expected at most 3 keys, got more"],
    ['{"a":{"b":[{},{},{},{}]}}', ["a", "b"], "expected at most 3 elements, got more"],
    ['[0,{"a":["x","x","x","x"]}]', [1, "a"], "expected at most 3 elements, got more"],
    ["[null,true,false,null]", [], "expected at most 3 elements, got more"],
    ["[[],[[],[],[],[]]]", [1], "expected at most 3 elements, got more"],
    [
      "[[[1],[1],[1]],[[1],[1],[1]],[[1],[1],[1]]]",
      [],
      "the body's lists and objects have more than 10 members",
    ],
    [
      `{"a":[[1],[${"1,".repeat(300)}1]]}`,
      ["a", 1],
      "expected at most 200 elements in all lists, got more",
    ],
    ["[[[[[", [], "the body is nested deeper than 4 levels"],
  ];
  for (const [text, path, message] of cases) {
    assert.deepEqual(findExcess(text, bounds), { path, message }, text);
  }
});

test("a character is read a fixed number of times at most, and few where there is too much", () => {
  for (const size of [1000, 10_000, 100_000]) {
    const texts = [
      `"${'\\"'.repeat(size)}`,
      `"${"\\".repeat(size)}`,
      '"'.repeat(size),
      '\\"'.repeat(size),
      `[${"0,".repeat(size)}0]`,
      `{"a":"${'\\"'.repeat(size)}"}`,
    ];
    for (const text of texts) {
      const characters = counted(text);
      findExcess(characters, requestBounds);
      assert.ok(characters.reads <= 3 * text.length, `${characters.reads} reads`);
    }
    const parts = counted(`{"messages":[{"content":[${"{},".repeat(size)}{}]}]}`);
    findExcess(parts, requestBounds);
    assert.ok(parts.reads <= 30_000, `${parts.reads} reads`);
  }
});
