import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const source = join(root, "src");

interface Manifest {
  readonly files: readonly string[];
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, { readonly default: string }>>;
  readonly scripts: Readonly<Record<string, string>>;
}
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;

/** A source's path in src of what is built as ./dist/….js. */
const sourceOf = (built: string) => built.replace(/^(\.\/)?dist\//, "").replace(/\.js$/, ".ts");

/** What package.json leaves out of dist: of globs, `**` is any folders and `*` any name. */
const leftOut = manifest.files
  .filter((glob) => glob.startsWith("!dist/"))
  .map((glob) => glob.slice("!dist/".length).replaceAll(".", "\\."))
  .map((glob) => glob.replaceAll("**/", "<folders>").replaceAll("*", "[^/]*"))
  .map(
    (glob) => new RegExp(`^${glob.replaceAll("<folders>", "(.*/)?").replace("/[^/]*$", "/.*")}$`),
  );

/** Modules that a file imports or starts as a thread or process. */
function modulesOf(file: string): string[] {
  const text = readFileSync(join(source, file), "utf8");
  const pattern = /(?:from|import|import\(|new URL\()\s*"(\.[^"]+\.[jt]s)"/g;
  return [...text.matchAll(pattern)].map((match) =>
    sourceOf(relative(source, resolve(source, dirname(file), match[1]))),
  );
}

test("the published package has every file that its entries reach, and no other", () => {
  const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".ts") && !file.endsWith(".d.ts"),
  );
  const exported = Object.values(manifest.exports).map((entry) => entry.default);
  const found = new Set([...Object.values(manifest.bin), ...exported].map(sourceOf));
  for (const file of found) {
    for (const module of modulesOf(file)) if (files.includes(module)) found.add(module);
  }
  const published = files.filter((file) => !leftOut.some((glob) => glob.test(file)));
  assert.deepEqual(published.sort(), [...found].sort());
});

test("what follows `npm test --`, as CI's reporters, is taken for options, not for files", () => {
  assert.match(manifest.scripts["test"], / --test$/);
});
