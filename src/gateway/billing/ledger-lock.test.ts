import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { LedgerLock } from "./ledger-lock.ts";
import { Ledger } from "./ledger.ts";

const directory = await mkdtemp(join(tmpdir(), "daysix-lock-"));
after(() => rm(directory, { recursive: true }));

/** A ledger without a line. */
async function create(name: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, "");
  return path;
}

test("a second server is refused by the file's name and the first one's pid", async () => {
  const path = join(directory, "twice.jsonl");
  const ledger = await Ledger.open(path);
  await assert.rejects(Ledger.open(path), {
    name: "LedgerError",
    message: new RegExp(`^cannot open the ledger ${path}: the server with pid ${process.pid} on `),
  });
  await ledger.close();
  await (await Ledger.open(path)).close();
  await assert.rejects(readFile(`${path}.lock`), /ENOENT/);
});

test("the lock of a server that lives is an obstacle, and of one that was killed is none", async () => {
  const path = await create("killed.jsonl");
  const url = JSON.stringify(new URL("./ledger-lock.js", import.meta.url));
  const script = `
    import { LedgerLock } from ${url};
    await LedgerLock.take(${JSON.stringify(path)});
    console.log("taken");
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script]);
  const exit = once(child, "exit");
  await once(child.stdout, "data");
  await assert.rejects(LedgerLock.take(path), new RegExp(`the server with pid ${child.pid} on `));
  child.kill("SIGKILL");
  await exit;
  await (await LedgerLock.take(path)).release();
});

test("a process with the number of one that has ended, or from before a restart, has no lock", async () => {
  const path = await create("later.jsonl");
  for (const field of ["start", "boot"]) {
    const lock = await LedgerLock.take(path);
    const held = JSON.parse(await readFile(`${path}.lock`, "utf8")) as object;
    await writeFile(`${path}.lock`, JSON.stringify({ ...held, [field]: "another" }));
    const next = await LedgerLock.take(path);
    await assert.rejects(lock.assertHeld(), new RegExp(`pid ${process.pid} .* writes it, says`));
    await lock.release();
    await next.assertHeld();
    await next.release();
  }
});

test("the lock of another machine, or one that is not whole, is good while there are signs of life", async () => {
  const path = await create("elsewhere.jsonl");
  const foreign = JSON.stringify({ pid: 7, host: "elsewhere", boot: "", start: "" });
  for (const [text, holder] of [
    [foreign, /the server with pid 7 on elsewhere writes it/],
    ["", /another server writes it/],
  ] as const) {
    await writeFile(`${path}.lock`, text);
    await assert.rejects(LedgerLock.take(path), holder);
    await (await LedgerLock.take(path, () => Date.now() + 3 * 60_000)).release();
  }
});

test("a lock that somebody has removed is made anew", async () => {
  const path = await create("removed.jsonl");
  const lock = await LedgerLock.take(path);
  await rm(`${path}.lock`);
  await lock.assertHeld();
  await assert.rejects(LedgerLock.take(path), /writes it/);
  await lock.release();
});

test("a lock that is a link to nothing is refused by its path", async () => {
  const path = await create("dangling.jsonl");
  await symlink(join(directory, "nowhere"), `${path}.lock`);
  await assert.rejects(LedgerLock.take(path), {
    name: "LedgerError",
    message: /dangling\.jsonl\.lock can be neither made nor read/,
  });
});
