import assert from "node:assert/strict";
import { test } from "node:test";
import { ResponseStore } from "./response-store.ts";

const messages = (content: string) => [{ role: "user" as const, content }];

test("a conversation is found by whose it is, and by nobody else", () => {
  const store = new ResponseStore(1000);
  store.keep("resp_1", "ann", messages("a"));
  assert.deepEqual(store.find("resp_1", "ann"), messages("a"));
  for (const [id, tenant] of [
    ["resp_1", "bob"],
    ["resp_2", "ann"],
  ]) {
    assert.throws(() => store.find(id, tenant), { status: 400, param: "previous_response_id" });
  }
});

test("the oldest are forgotten, and what alone is too long is not kept", () => {
  const size = JSON.stringify(messages("aaaa")).length;
  const store = new ResponseStore(2 * size);
  for (const id of ["1", "2", "3"]) store.keep(id, "ann", messages("aaaa"));
  assert.throws(() => store.find("1", "ann"));
  assert.ok(store.find("2", "ann") && store.find("3", "ann"));
  store.keep("4", "ann", messages("a".repeat(3 * size)));
  assert.throws(() => store.find("4", "ann"));
  assert.ok(store.find("3", "ann"));
});
