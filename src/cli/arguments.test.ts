import assert from "node:assert/strict";
import { test } from "node:test";
import { oneOf } from "./arguments.ts";

test("one of a list is taken as it is, and anything else is told beside the choices", () => {
  assert.equal(oneOf("to", "int8", ["fp8", "int8"]), "int8");
  assert.equal(oneOf("group", 128, [32, 128]), 128);
  for (const [value, names, message] of [
    ["no", ["auto", "off"], "--when: expected auto or off, got no"],
    ["int3", ["fp8", "int8", "int4"], "--when: expected fp8, int8 or int4, got int3"],
    [64, [32, 128], "--when: expected 32 or 128, got 64"],
    [true, ["auto"], "--when: expected auto, got true"],
    [undefined, ["auto"], "--when: expected auto, got undefined"],
  ] as const) {
    assert.throws(() => oneOf<string | number>("when", value, names), {
      name: "UsageError",
      message,
    });
  }
});
