// Joins the tests of each folder to one program: with a process for each of 264 files, which loads all modules itself, the
// suite takes an eighth longer. A file is a suite there, and can be run alone: node --test dist/….test.js
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve, sep } from "node:path";

const dist = resolve(import.meta.dirname, "dist");
const out = join(dist, "tests");
rmSync(out, { recursive: true, force: true });

/** Streams of a process share its cores: what compares two threads' bits runs where no other file has left one open. */
const alone = ["engine/rank/invariance.test.js"].map((file) => file.split("/").join(sep));

const programs = new Map();
const files = readdirSync(dist, { recursive: true }).filter((file) => file.endsWith(".test.js"));
for (const file of files.sort((a, b) => a.localeCompare(b))) {
  const name = alone.includes(file) ? file.replace(/\.test\.js$/, "") : dirname(file);
  programs.set(name, [...(programs.get(name) ?? []), file]);
}

// node:test knows a test's suite by what it was called from. What two files import must therefore not wait at its top
// level: both would go on, and their tests with them, from where the first one waited.
const program = (suites) => `import { describe } from "node:test";

for (const file of ${JSON.stringify(suites, undefined, 2)}) {
  describe(file, { timeout: 180_000 }, () => import(\`../\${file}\`));
}
`;

mkdirSync(out);
for (const [name, suites] of programs) {
  const flat = name === "." ? "project" : name.split(sep).join("-");
  writeFileSync(join(out, `${flat}.test.js`), program(suites));
}
