import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "./arguments.ts";
import { contextCacheOf } from "./context-cache.ts";

const DAY_MS = 86_400_000;

test("a cache folder keeps 10 GiB for seven days unless told otherwise", () => {
  assert.deepEqual(contextCacheOf({}), {});
  assert.deepEqual(contextCacheOf({ cache: "off" }), {});
  assert.deepEqual(contextCacheOf({ cacheDir: "/kv" }), {
    contextCache: {
      store: "/kv",
      limits: { maxBytes: 10 * 2 ** 30, maxAgeMs: 7 * DAY_MS },
    },
  });
  for (const [size, age, maxBytes, maxAgeMs] of [
    ["512M", "90s", 512 * 2 ** 20, 90_000],
    ["1.5T", "12h", 1.5 * 2 ** 40, DAY_MS / 2],
    [4096, "1.5d", 4096, 1.5 * DAY_MS],
    ["0", "15M", 0, 900_000],
  ]) {
    const { contextCache } = contextCacheOf({ cacheDir: "/kv", cacheSize: size, cacheAge: age });
    assert.deepEqual(contextCache?.limits, { maxBytes, maxAgeMs });
  }
});

test("sizes and times that cannot be, or limit nothing, are refused by their option", () => {
  for (const [flags, message] of [
    [{ cacheSize: "1G" }, /^--cache-size needs --cache$/],
    [{ cacheAge: "1d" }, /^--cache-age needs --cache$/],
    [{ cacheDir: "/kv", cacheSize: "lots" }, /^--cache-size: expected a size .* got lots/],
    [{ cacheDir: "/kv", cacheAge: "7" }, /^--cache-age: expected a time .* got 7/],
    [{ cacheDir: "/kv", cacheAge: "-1d" }, /^--cache-age: expected a time/],
    [{ cacheDir: ["/a", "/b"] }, /^--cache-dir: expected one value/],
    [{ cacheDir: "/a", cache: "/b" }, /^--cache-dir: expected one of --cache and --cache-dir/],
    [{ cache: "ftp://a" }, /^--cache: expected a folder, valkey:.*s3:.*, got ftp:/],
    [{ cache: "s3://b/p", cacheSize: "1G" }, /^--cache-size is a folder's/],
  ] as const) {
    assert.throws(
      () => contextCacheOf(flags),
      (error: Error) => {
        assert.ok(error instanceof UsageError);
        assert.match(error.message, message);
        return true;
      },
    );
  }
});
