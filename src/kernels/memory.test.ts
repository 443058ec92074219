import assert from "node:assert/strict";
import { totalmem } from "node:os";
import { test } from "node:test";
import { availableMemory, memoryWithin, usableMemory } from "./memory.ts";

test("a control group's limit counts where it is lower than the machine's memory", () => {
  assert.equal(memoryWithin(8e9, 3e9), 3e9);
  assert.equal(memoryWithin(8e9, 12e9), 8e9);
  assert.equal(memoryWithin(8e9, 2 ** 64), 8e9, "cgroup v1's way to say that there is none");
  assert.equal(memoryWithin(8e9, 0), 8e9, "Node's");
});

test("some of the usable memory is available, and none beyond the machine's is usable", () => {
  assert.ok(availableMemory() > 0);
  assert.ok(availableMemory() <= usableMemory());
  assert.ok(usableMemory() <= totalmem());
});
