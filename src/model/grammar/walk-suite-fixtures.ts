#!/usr/bin/env node
/**
 * `node dist/model/grammar/walk-suite-fixtures.js DIR`: walks all of JSON-Schema-Test-Suite's files of a
 * draft through masks' automata: the share of its schemas that is followed, and texts decided wrongly.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type SuiteGroup, walkSuite } from "./suite-fixtures.ts";

const [, , directory] = process.argv;
let groups = 0;
let refused = 0;
let texts = 0;
const wrong: string[] = [];
for (const file of (await readdir(directory)).filter((name) => name.endsWith(".json"))) {
  const own = JSON.parse(await readFile(join(directory, file), "utf8")) as SuiteGroup[];
  const result = walkSuite(own);
  groups += own.length;
  refused += result.refused.length;
  texts += result.texts;
  wrong.push(...result.wrong.map((each) => `${file}: ${each}`));
  for (const each of result.refused) console.log(`refused: ${file}: ${each}`);
}
for (const each of wrong) console.log(`wrong: ${each}`);
console.log(
  `${groups - refused} of ${groups} schemas followed; ${wrong.length} of ${texts} texts wrong`,
);
