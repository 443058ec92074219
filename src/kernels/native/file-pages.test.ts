import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { mapsHugePages } from "./file-pages.ts";
import { nativeProblem } from "./native.ts";
import { hugePageBytes } from "./resident-weights.ts";

const folder = mkdtempSync(join(tmpdir(), "daysix-pages-"));
after(() => rmSync(folder, { recursive: true }));

test(
  "how files are mapped is told, and the file that tells it is gone",
  { skip: nativeProblem() ?? false },
  () => {
    const isTold = /FilePmdMapped/.test(readFileSync("/proc/self/smaps", "utf8"));
    assert.equal(typeof mapsHugePages(folder), isTold ? "boolean" : "undefined");
    assert.deepEqual(readdirSync(folder), []);
    assert.equal(mapsHugePages("/dev/null/nowhere"), undefined);
  },
);

test("huge pages of mapped files are not those of copies", () => {
  const smaps = "1000-9000 r--s\nAnonHugePages: 4 kB\nFilePmdMapped: 6 kB\n";
  const memory = [{ address: 0x1000, size: 10 }];
  assert.equal(hugePageBytes(smaps, memory), 4096);
  assert.equal(hugePageBytes(smaps, memory, "FilePmdMapped"), 6144);
});
