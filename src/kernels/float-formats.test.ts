import assert from "node:assert/strict";
import { test } from "node:test";
import {
  e4m3Values,
  float32,
  fromBf16,
  fromF16,
  roundBf16,
  toBf16,
  toE4m3,
} from "./float-formats.ts";

const finiteCodes = Array.from({ length: 256 }, (_, code) => code).filter(
  (code) => !Number.isNaN(e4m3Values[code]),
);

test("e4m3 has 254 finite codes, two NaN codes and the published extremes", () => {
  assert.equal(finiteCodes.length, 254);
  assert.ok(Number.isNaN(e4m3Values[0x7f]) && Number.isNaN(e4m3Values[0xff]));
  assert.equal(e4m3Values[0x7e], 448);
  assert.equal(e4m3Values[0x08], 2 ** -6);
  assert.equal(e4m3Values[0x01], 2 ** -9);
});

test("every finite e4m3 value encodes to its own code", () => {
  for (const code of finiteCodes) assert.equal(toE4m3(e4m3Values[code]), code);
});

test("e4m3 rounds to the nearest value, halfway cases to the even code", () => {
  const positive = finiteCodes.filter((code) => code < 0x80);
  for (let i = 0; i + 1 < positive.length; i++) {
    const low = e4m3Values[positive[i]];
    const high = e4m3Values[positive[i + 1]];
    const middle = (low + high) / 2;
    const step = (high - low) / 64;
    assert.equal(toE4m3(middle - step), positive[i]);
    assert.equal(toE4m3(middle + step), positive[i + 1]);
    assert.equal(toE4m3(middle), positive[i] % 2 === 0 ? positive[i] : positive[i + 1]);
    assert.equal(toE4m3(-(middle + step)), positive[i + 1] | 0x80);
  }
});

test("e4m3 saturates at 448", () => {
  assert.equal(toE4m3(1e9), 0x7e);
  assert.equal(toE4m3(-460), 0xfe);
});

test("every BF16 value survives a round trip and midpoints go to the even code", () => {
  for (let code = 0; code < 0x7f80; code++) {
    assert.equal(toBf16(fromBf16(code)), code);
    if (code === 0x7f7f) continue;
    const middle = (fromBf16(code) + fromBf16(code + 1)) / 2;
    assert.equal(toBf16(middle), code % 2 === 0 ? code : code + 1);
  }
  assert.ok(Number.isNaN(roundBf16(NaN)));
  assert.equal(roundBf16(-Infinity), -Infinity);
});

test("FP16 decodes normals, subnormals, infinities and zero", () => {
  assert.equal(fromF16(0x3c00), 1);
  assert.equal(fromF16(0xc000), -2);
  assert.equal(fromF16(0x0001), 2 ** -24);
  assert.equal(fromF16(0x7bff), 65504);
  assert.equal(fromF16(0x7c00), Infinity);
  assert.ok(Number.isNaN(fromF16(0x7e00)));
  assert.equal(fromF16(0), 0);
});

test("float32 flushes what would be a denormal to a zero of its sign, and rounds the rest", () => {
  assert.equal(float32(0.1), Math.fround(0.1));
  assert.equal(float32(2 ** -126), 2 ** -126);
  for (const [sign, zero] of [
    [1, 0],
    [-1, -0],
  ]) {
    assert.ok(Object.is(float32(sign * 2 ** -149), zero));
    // Rounded to 24 bits it is still below the least normal number.
    assert.ok(Object.is(float32(sign * (2 ** -126 - 2 ** -150)), zero));
    assert.equal(float32(sign * (2 ** -126 - 2 ** -151)), sign * 2 ** -126);
    assert.ok(Object.is(float32(zero), zero));
    assert.equal(float32(sign * Infinity), sign * Infinity);
  }
  assert.ok(Number.isNaN(float32(NaN)));
});
