import assert from "node:assert/strict";
import { test } from "node:test";
import { processExists } from "./process-exists.ts";

test("a process lives that runs, or may not be sent signals; one that is gone does not", (t) => {
  assert.equal(processExists(process.pid), true);
  // More than any system has.
  assert.equal(processExists(2 ** 30), false);
  t.mock.method(process, "kill", () => {
    throw Object.assign(new Error("kill EPERM"), { code: "EPERM" });
  });
  assert.equal(processExists(1), true);
});
