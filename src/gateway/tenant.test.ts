import assert from "node:assert/strict";
import { test } from "node:test";
import { Tenant } from "./tenant.ts";

test("a tenant's name is readable and says nothing of the key", () => {
  assert.equal(new Tenant(undefined).name, "default");
  const { name } = new Tenant("sk-secret");
  assert.match(name, /^key-[0-9a-f]{12}$/);
  assert.equal(new Tenant("sk-secret").name, name);
});

test("prefixes are shared by one key and one salt, and by nobody else", () => {
  const keys = [undefined, "", "a", "b", "default", "\ud800", "\ud801"];
  const salts = [undefined, "", "1", "2", "default"];
  const all = keys.flatMap((key) => salts.map((salt) => new Tenant(key).prefixes(salt)));
  assert.equal(new Set(all).size, keys.length * salts.length);
  assert.equal(new Tenant("a").prefixes(null), new Tenant("a").prefixes(undefined));
});
