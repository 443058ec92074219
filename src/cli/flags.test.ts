/** `node flags.test.js --write` writes docs/flags.md anew. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
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

\`daysix COMMAND --help\` says the same. Of a flag that is given twice the last counts. Made of the
program's own table: \`node dist/cli/flags.test.js --write\`.

${program.commands.map(describe).join("\n")}`;

test("the documentation has every flag, as --help says it", () => {
  if (process.argv.includes("--write")) writeFileSync(page, written);
  assert.equal(readFileSync(page, "utf8"), written);
});
