import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { parseTopology } from "../cluster/index.ts";
import { temporaryFile } from "../trace/fixtures.ts";
import { keysOf } from "./keyring.ts";
import { nodesOf } from "./node-options.ts";
import { serverOf } from "./server.ts";

test("a file of keys that cannot be used is refused by its flag, and so is a budget without bills", async (t) => {
  const missing = temporaryFile(t);
  await assert.rejects(keysOf({ keys: missing }), {
    name: "UsageError",
    message: /^--keys: .*ENOENT/,
  });
  const file = temporaryFile(t);
  const key = { name: "ann", sha256: "a".repeat(64), budget: { dollars: "1", per: "day" } };
  writeFileSync(file, JSON.stringify({ keys: [key] }));
  await assert.rejects(keysOf({ keys: file }), {
    message: /^--keys: .*expected --ledger beside it$/,
  });
  assert.equal((await keysOf({ keys: file, ledger: "bills" }))?.length, 1);
  assert.equal(await keysOf({}), undefined);
});

test("more nodes than ranks are refused before anything is started", () => {
  const flags = { failureTimeout: "2s", link: undefined };
  const topology = parseTopology("combined=1x1");
  assert.throws(() => nodesOf({ ...flags, nodes: "3" }, topology), {
    name: "UsageError",
    message: "--nodes: expected at most one for each rank (1), got 3",
  });
  assert.equal(nodesOf({ ...flags, nodes: "1" }, topology).count, 1);
});

test("a server's URL begins with its scheme", async () => {
  for (const url of ["127.0.0.1:1", "localhost:8000", "ftp://a", "http://"]) {
    await assert.rejects(serverOf({ url }), {
      name: "UsageError",
      message: `--url: expected http://HOST:PORT, got ${url}`,
    });
  }
  assert.equal((await serverOf({ url: "http://a:1/v1/" })).url, "http://a:1");
});
