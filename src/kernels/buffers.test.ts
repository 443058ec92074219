import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { allocate } from "./buffers.ts";
import { loadNative } from "./native-addon.ts";

const { addon, problem } = loadNative();

test("buffers of all types and sizes are zeros that begin on a cache line", () => {
  for (const Memory of [ArrayBuffer, SharedArrayBuffer]) {
    for (const count of [0, 1, 15, 64, 4099, 1_000_003]) {
      for (const values of [
        allocate(Uint8Array, count, Memory),
        allocate(Uint16Array, count, Memory),
        allocate(Float32Array, count, Memory),
      ]) {
        assert.equal(values.length, count);
        assert.ok(values.buffer instanceof Memory);
        assert.ok(values.every((value) => value === 0));
        const bytes = new Uint8Array(values.buffer, values.byteOffset);
        assert.equal((addon?.address(bytes) ?? 0) % 64, 0);
      }
    }
  }
});

test(
  "a large buffer asks for huge pages",
  { skip: problem ?? (existsSync("/proc/self/smaps") ? false : "no smaps") },
  () => {
    const values = allocate(Float32Array, 2 ** 21);
    const middle = (addon?.address(values) ?? 0) + 2 ** 22;
    const areas = readFileSync("/proc/self/smaps", "utf8").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
    const [own] = areas.filter((area) => {
      const [first, end] = area.split(/[- ]/, 2).map((address) => Number.parseInt(address, 16));
      return first <= middle && middle < end;
    });
    assert.match(own, /^VmFlags:.* hg\b/m);
    assert.equal(values[0], 0);
  },
);
