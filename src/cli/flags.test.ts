/** `node flags.test.js --write` writes docs/flags.md anew. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { program } from "./program.ts";

const page = new URL("../../docs/flags.md", import.meta.url);

/** Paths of this machine are not the reader's. */
const defaultOf = (value: unknown) => {
  if (typeof value !== "string" && typeof value !== "number") return "";
  return `${value}`.startsWith("/") ? "models/calf" : `\`${value}\``;
};

const escaped = (text: string) => text.replaceAll("|", "\\|");

function describe({ rawName, description, options }: (typeof program.commands)[number]): string {
  const rows = options.map(({ rawName: name, description: does, config }) => {
    return `| \`${name}\` | ${escaped(does)} | ${defaultOf(config.default as unknown)} |\n`;
  });
  const table = rows.length === 0 ? "" : `\n| flag | | default |\n|---|---|---|\n${rows.join("")}`;
  return `## \`daysix ${rawName}\`\n\n${description}.\n${table}`;
}

const written = `# Commands and flags

\`daysix COMMAND --help\` says the same. Of a flag that is given twice the last counts, but for
\`--model NAME=DIR\` of \`serve\` and \`node\`. Made of the program's own table: \`node dist/cli/flags.test.js --write\`.

${program.commands.map(describe).join("\n")}`;

test("the documentation has every flag, as --help says it", () => {
  if (process.argv.includes("--write")) writeFileSync(page, written);
  assert.equal(readFileSync(page, "utf8"), written);
});

/** Flags of numactl, docker and this repository's own tools. */
const others = ["--cpunodebind", "--membind", "--write", "--help"];

test("every flag that the guide mentions is one of the program's", () => {
  const options = program.commands.flatMap((command) => command.options);
  const known = new Set([...others, ...options.map(({ rawName }) => rawName.split(" ")[0])]);
  const guide = [
    "context-cache",
    "flags",
    "metrics",
    "prices",
    "running",
    "topologies",
    "two-machines",
  ];
  const pages = ["../../README.md", ...guide.map((name) => `../../docs/${name}.md`)];
  for (const path of pages) {
    const text = readFileSync(new URL(path, import.meta.url), "utf8");
    for (const [flag] of text.matchAll(/(?<![\w-])--[a-z][a-z-]*/g)) {
      assert.ok(known.has(flag), `${path}: ${flag}`);
    }
    for (const [, target] of text.matchAll(/\]\((?!http)([^)#]+)/g)) {
      const at = new URL(target, new URL(path, import.meta.url));
      assert.ok(
        readdirSync(new URL(".", at)).includes(at.pathname.split("/").at(-1)!),
        `${path}: ${target}`,
      );
    }
  }
});
