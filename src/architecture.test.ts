import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

/** The folders of src/, lowest first: an import may only point to an earlier one, at its index. */
const layers = [
  "trace",
  "kernels",
  "balancing",
  "model",
  "cluster",
  "expert-parallel",
  "kv-cache",
  "engine",
  "pipeline",
  "simulator",
  "gateway",
  "bench",
  "cli",
];

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const source = join(root, "src");
const lineLimit = 420;

const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((file) =>
  file.endsWith(".ts"),
);

function importsOf(file: string): string[] {
  const text = readFileSync(join(source, file), "utf8");
  const pattern = /(?:from|import)\s*\(?\s*"(\.[^"]+)"/g;
  return [...text.matchAll(pattern)].map((match) =>
    relative(source, resolve(source, dirname(file), match[1])),
  );
}

/** Tests and what only they use may look behind another layer's face. */
const isForTests = (file: string) => /(\.test|\bfixtures)\.ts$/.test(file);

const layerOf = (file: string) => file.split("/")[0];

const isFace = (file: string) => file.endsWith("/index.ts");

test("every folder of src is a layer, and a layer has one level of folders at most", () => {
  for (const file of files) {
    const { length } = file.split("/");
    if (length > 1) assert.ok(layers.includes(layerOf(file)), `${layerOf(file)} is not a layer`);
    assert.ok(length <= 3, `${file} lies two folders below its layer`);
  }
});

test("imports point to an earlier layer, and only to its public face", () => {
  for (const file of files) {
    for (const target of importsOf(file)) {
      const from = layers.indexOf(layerOf(file));
      const to = layers.indexOf(layerOf(target));
      if (from === to) continue;
      assert.ok(to < from, `${file} imports ${target}: ${layerOf(file)} lies below`);
      if (isForTests(file)) continue;
      const face = `${layerOf(target)}/index.ts`;
      assert.equal(target, face, `${file} imports ${target}, not its layer's index`);
    }
  }
});

test("a layer's folders know each other by their public faces", () => {
  for (const file of files.filter((name) => !isForTests(name))) {
    for (const target of importsOf(file)) {
      const isRoot = dirname(target) === layerOf(target);
      if (layerOf(file) !== layerOf(target) || dirname(file) === dirname(target) || isRoot)
        continue;
      assert.ok(isFace(target), `${file} imports ${target}, not its folder's index`);
    }
  }
});

test("no import runs in a circle", () => {
  const finished = new Set<string>();
  const visit = (file: string, path: readonly string[]) => {
    assert.ok(!path.includes(file), `a circle: ${[...path, file].join(" → ")}`);
    if (finished.has(file)) return;
    for (const target of importsOf(file))
      if (files.includes(target)) visit(target, [...path, file]);
    finished.add(file);
  };
  for (const file of files) visit(file, []);
});

test(`no source file is longer than ${lineLimit} lines`, () => {
  for (const file of files) {
    const lines = readFileSync(join(source, file), "utf8").split("\n").length;
    assert.ok(lines <= lineLimit, `${file} has ${lines} lines`);
  }
});

test("balancing imports nothing", () => {
  for (const file of files.filter((name) => layerOf(name) === "balancing")) {
    assert.deepEqual(
      importsOf(file).filter((target) => layerOf(target) !== "balancing"),
      [],
    );
  }
});
