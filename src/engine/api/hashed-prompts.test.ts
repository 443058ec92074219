import assert from "node:assert/strict";
import { test } from "node:test";
import { BlockKeys, bytesOfKeys } from "../../kv-cache/index.ts";
import { Sequence } from "../rank/sequence.ts";
import { admitted } from "../requests.ts";
import { request } from "./fixtures.ts";
import { HashedPrompts } from "./hashed-prompts.ts";

const prompt = Uint32Array.from({ length: 150 }, (_, i) => i);
const asked = (tenant: string) => admitted({ ...request([]), prompt, tenant });

test("all choices of a prompt share its keys, those of another tenant have others", () => {
  const hashed = new HashedPrompts();
  const [first, second, other] = ["a", "a", "b"].map((tenant) => hashed.withKeys(asked(tenant)));
  assert.equal(first.blockKeys?.length, 64);
  assert.equal(first.blockKeys, second.blockKeys);
  assert.notDeepEqual(first.blockKeys, other.blockKeys);
});

test("a rank takes the keys it is told, and goes on from them with what it generates", () => {
  const hashed = new HashedPrompts().withKeys(asked("a"));
  const told = new Sequence(0, hashed);
  const untold = new Sequence(1, asked("a"));
  for (let token = 150; token < 200; token++) {
    told.append(token);
    untold.append(token);
  }
  assert.equal(told.blockKeys.length, 3);
  assert.deepEqual(told.blockKeys, untold.blockKeys);
  const foreign = Uint8Array.from(hashed.blockKeys ?? [], (byte) => byte ^ 1);
  const trusting = new Sequence(2, { ...hashed, blockKeys: foreign });
  assert.deepEqual(bytesOfKeys(trusting.blockKeys), foreign);
});

test("a sequence grows without touching the prompt it was given, nor what was read of it before", () => {
  const sequence = new Sequence(0, asked("a"));
  const before = sequence.tokens;
  for (let token = 150; token < 1000; token++) sequence.append(token);
  assert.deepEqual(
    [...sequence.tokens],
    Array.from({ length: 1000 }, (_, i) => i),
  );
  assert.equal(before, prompt);
  assert.equal(prompt.length, 150);
  assert.deepEqual(sequence.blockKeys, new BlockKeys("a").upTo(sequence.tokens));
});
