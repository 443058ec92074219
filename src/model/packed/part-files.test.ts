import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, test } from "node:test";
import { partOf, removeLeftovers } from "./part-files.ts";

const folder = await mkdtemp(join(tmpdir(), "daysix-parts-"));
after(() => rm(folder, { recursive: true }));

/** More than any system has. */
const GONE = 2 ** 30;

test("only parts of this host's ended processes, and those not written for long, are leftovers", async () => {
  const [own, other] = [1, 2].map(() => partOf(join(folder, "weights.bin")));
  assert.notEqual(own, other, "two packers of one number do not write one file");
  const of = (host: string, pid: number) =>
    own.replace(/[^.]+\.\d+(?=\.\w+\.part$)/, `${host}.${pid}`);
  const host = hostname().replace(/[^\w-]/g, "_");
  assert.equal(of(host, process.pid), own);
  const kept = [own, other, of("another", process.pid), of("another", GONE)];
  const ended = of(host, GONE);
  const old = of("another", 1);
  for (const path of [...kept, ended, old, join(folder, "weights.bin")]) await writeFile(path, "");
  await utimes(old, 0, 0);
  await removeLeftovers(folder);
  const left = [...kept.map((path) => basename(path)), "weights.bin"];
  assert.deepEqual((await readdir(folder)).sort(), left.sort());
});
