import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, test } from "node:test";
import { partOf, removeLeftovers } from "./part-files.ts";

const folder = await mkdtemp(join(tmpdir(), "daysix-parts-"));
after(() => rm(folder, { recursive: true }));

/** More than any system has. */
const GONE = 2 ** 30;

test("only parts of this host's ended processes, and those not written for long, are leftovers", async () => {
  const [own, other] = [1, 2].map(() => partOf(join(folder, "weights.safetensors")));
  assert.notEqual(own, other, "two packers of one number do not write one file");
  const of = (host: string, pid: number) =>
    own.replace(/[^.]+\.\d+(?=\.\w+\.part$)/, `${host}.${pid}`);
  const host = hostname().replace(/[^\w-]/g, "_");
  assert.equal(of(host, process.pid), own);
  const kept = [own, other, of("another", process.pid), of("another", GONE)];
  const ended = of(host, GONE);
  const old = of("another", 1);
  for (const path of [...kept, ended, old, join(folder, "weights.safetensors")])
    await writeFile(path, "");
  await utimes(old, 0, 0);
  await removeLeftovers(folder);
  const left = [...kept.map((path) => basename(path)), "weights.safetensors"];
  assert.deepEqual((await readdir(folder)).sort(), left.sort());
});

test("what another program calls a part stays, and so does a folder", async () => {
  const foreign = await mkdtemp(join(folder, "foreign-"));
  const own = partOf(join(foreign, "weights.safetensors"));
  const files = ["film.mkv.part", "calf-7.part", basename(own).replace(".safetensors", ".gguf")];
  for (const name of files) await writeFile(join(foreign, name), "");
  await mkdir(own);
  const kept = [...files, basename(own)];
  for (const name of kept) await utimes(join(foreign, name), 0, 0);
  await removeLeftovers(foreign);
  assert.deepEqual((await readdir(foreign)).sort(), kept.sort());
});
