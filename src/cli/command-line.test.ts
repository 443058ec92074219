import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { joinNegatives, lastGiven, nearest } from "./command-line.ts";
import { describePlan } from "./pull.ts";
import { modelFolderOf, modelNameOf } from "./model-folder.ts";

const main = fileURLToPath(new URL("./main.js", import.meta.url));

/** What `daysix` says on stderr. */
const refusalOf = (...argv: string[]) =>
  spawnSync(process.execPath, [main, ...argv], { encoding: "utf8" }).stderr;

test("a negative number is an option's value", () => {
  assert.deepEqual(joinNegatives(["--temperature", "-1", "--json", "-h"]), [
    ...["--temperature=-1", "--json", "-h"],
  ]);
  assert.deepEqual(joinNegatives(["a", "-1", "--b=1", "-.5"]), ["a", "-1", "--b=1", "-.5"]);
  const said = refusalOf("generate", "--prompt", "hi", "--temperature", "-1");
  assert.match(said, /--temperature: expected a number from 0 to 100, got -1/);
});

test("of an option given twice the last counts", () => {
  const options = { topology: ["combined=1x4", "combined=1x1"], "--": ["a", "b"], port: 1 };
  lastGiven(options);
  assert.deepEqual(options, { topology: "combined=1x1", "--": ["a", "b"], port: 1 });
  assert.match(refusalOf("serve", "--topology", "combined=1x1", "--topology", "x"), /x/);
});

test("a mistyped command is answered with the one that is meant", () => {
  assert.equal(nearest("serv", ["serve", "report"]), "serve");
  assert.equal(nearest("frobnicate", ["serve", "report"]), undefined);
  assert.match(refusalOf("serv"), /unknown command serv; did you mean serve\?/);
  assert.match(refusalOf("bench"), /unknown command bench; expected bench kernels/);
});

test("a model in the hub's cache is served under its name, a folder under its own", async () => {
  const snapshot = `/h/hub/models--org--Moon-16B/snapshots/${"0a".repeat(20)}`;
  assert.equal(modelNameOf(snapshot), "Moon-16B");
  assert.equal(modelNameOf("/models/calf/"), "calf");
  assert.equal(await modelFolderOf("nobody/nothing"), "nobody/nothing");
  assert.match(refusalOf("inspect", "nobody/nothing"), /daysix pull nobody\/nothing/);
});

test("a pull says what comes and whether memory holds it", () => {
  const files = [{ path: "a", bytes: 4e9, checksum: "" }];
  const plan = { files, bytes: 4e9, have: 1e9, weightBytes: 4e9, commit: "", folder: "" };
  assert.match(describePlan(plan, 8e9), /^4.0 GB in 1 files, of which 1.0 GB are here; .* fit in/);
  assert.match(describePlan(plan, 4e9), /4.0 GB of weights do not fit in memory here \(4.0 GB/);
});
