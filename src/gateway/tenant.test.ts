import assert from "node:assert/strict";
import { test } from "node:test";
import { Tenant } from "./tenant.ts";

test("a tenant's name is readable and says nothing of the key", () => {
  assert.equal(Tenant.ofKey(undefined).name, "default");
  const { name } = Tenant.ofKey("sk-secret");
  assert.match(name, /^key-[0-9a-f]{12}$/);
  assert.equal(Tenant.ofKey("sk-secret").name, name);
});

test("prefixes are shared by one key and one salt, and by nobody else", () => {
  const keys = [undefined, "", "a", "b", "default", "\ud800", "\ud801"];
  const salts = [undefined, "", "1", "2", "default"];
  const all = keys.flatMap((key) => salts.map((salt) => Tenant.ofKey(key).prefixes(salt)));
  assert.equal(new Set(all).size, keys.length * salts.length);
  assert.equal(Tenant.ofKey("a").prefixes(null), Tenant.ofKey("a").prefixes(undefined));
});

test("a key with a name is known by it, in the ledger and in the cache", () => {
  assert.equal(Tenant.named("ann").name, "ann");
  assert.notEqual(Tenant.named("default").prefixes(null), Tenant.ofKey(undefined).prefixes(null));
  assert.notEqual(Tenant.named("ann").prefixes(null), Tenant.named("bob").prefixes(null));
});
