import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import type { NumericIdentity } from "../model/index.ts";
import { BlockCodec } from "./block-codec.ts";
import { BlockKeys } from "./prefix.ts";

const identity: NumericIdentity = {
  modelHash: "a".repeat(64),
  modelBytes: "sample",
  policy: "w8a16",
  bits: "common",
  numericsVersion: 1,
};
const shape = { layers: 2, width: 3, bytesPerValue: 2 };
const secret = new Uint8Array(32).fill(1);
const codec = new BlockCodec(identity, shape, secret);
const [key, otherKey] = new BlockKeys("").upTo(Array.from({ length: 128 }, (_, i) => i));

async function block(by = codec, of = key): Promise<Buffer> {
  const file = by.frame(of);
  by.payload(file).fill(7);
  await by.seal(file);
  return file;
}

/** Identities that differ from the usual one in a single field. */
const otherIdentities: NumericIdentity[] = [
  { ...identity, modelHash: "b".repeat(64) },
  { ...identity, modelBytes: "all" },
  { ...identity, policy: "w8a8" },
  { ...identity, bits: "amx" },
  { ...identity, numericsVersion: 2 },
];

test("a sealed block is whole, and its payload is what was put in", async () => {
  const file = await block();
  assert.equal(file.length, 96 + 2 * 64 * 3 * 2 + 32);
  assert.equal(await codec.damage(file, key), undefined);
  assert.ok(codec.payload(file).every((value) => value === 7));
  assert.equal(codec.payload(file).length, 2 * 64 * 3 * 2);
});

test("no byte of a block can change unnoticed", async () => {
  const file = await block();
  for (let at = 0; at < file.length; at++) {
    const damaged = Buffer.from(file);
    damaged[at] ^= 1 << (at % 8);
    assert.notEqual(await codec.damage(damaged, key), undefined, `byte ${at}`);
  }
});

test("no bytes of a block's length are taken for a block, nor a block with some overwritten", async () => {
  const file = await block();
  const noise = fc.uint8Array({ minLength: codec.fileBytes, maxLength: codec.fileBytes });
  const patch = fc.record({
    at: fc.nat(codec.fileBytes - 1),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 300 }),
  });
  await fc.assert(
    fc.asyncProperty(noise, patch, async (random, { at, bytes }) => {
      assert.notEqual(await codec.damage(random, key), undefined);
      const patched = Buffer.from(file);
      patched.set(bytes.subarray(0, file.length - at), at);
      const whole = patched.equals(file);
      assert.equal((await codec.damage(patched, key)) === undefined, whole);
    }),
  );
});

test("another's block is refused by what it says, its seal being right", async () => {
  assert.equal(await codec.damage(await block(codec, otherKey), key), "key");
  for (const other of otherIdentities) {
    assert.equal(
      await codec.damage(await block(new BlockCodec(other, shape, secret)), key),
      "identity",
    );
  }
  const turned = new BlockCodec(identity, { layers: 3, width: 2, bytesPerValue: 2 }, secret);
  assert.equal(turned.fileBytes, codec.fileBytes);
  assert.equal(await codec.damage(await block(turned), key), "shape");
});

test("without the key nobody can make a block, and one with another key is told by its header", async () => {
  const other = new BlockCodec(identity, shape, new Uint8Array(32).fill(2));
  const forged = await block(other);
  assert.equal(await codec.damage(forged, key), "sealed with another key");
  // The forger knows everything but the key.
  codec.frame(key).copy(forged, 0, 0, 96);
  assert.equal(await codec.damage(forged, key), "authentication");
  const digest = createHash("sha256").update(forged.subarray(0, -32)).digest();
  digest.copy(forged, forged.length - 32);
  assert.equal(await codec.damage(forged, key), "authentication");
});

test("names differ by key, store's key and every part of the identity, whatever its order", () => {
  const codecs = [identity, ...otherIdentities].map((one) => new BlockCodec(one, shape, secret));
  codecs.push(new BlockCodec(identity, shape, new Uint8Array(32).fill(2)));
  const names = codecs.flatMap((one) => [one.name(key), one.name(otherKey)]);
  assert.equal(new Set(names).size, names.length);
  for (const name of names) assert.match(name, /^[0-9a-f]{64}$/);
  const reordered = Object.fromEntries(Object.entries(identity).toReversed());
  assert.equal(new BlockCodec(reordered as never, shape, secret).name(key), codec.name(key));
});
