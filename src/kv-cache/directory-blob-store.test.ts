import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { ManualClock } from "../cluster/fixtures.ts";
import { DirectoryBlobStore } from "./directory-blob-store.ts";
import { createPermits, FilePermits } from "./file-permits.ts";

const scratch = mkdtempSync(join(tmpdir(), "daysix-directory-store-"));
after(() => rmSync(scratch, { recursive: true, force: true }));
let directories = 0;

const newDirectory = () => join(scratch, `${directories++}`);
const nameOf = (text: string) => createHash("sha256").update(text).digest("hex");
const limits = { maxBytes: 1e6, maxAgeMs: 1e9 };
const content = (value: number, size = 1000) => new Uint8Array(size).fill(value);

/** Files of a directory and its folders, without the folders and the key. */
function filesIn(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== "key")
    .map((entry) => entry.name);
}

test("content outlives the store that wrote it", async () => {
  const directory = newDirectory();
  await (await DirectoryBlobStore.open(directory, limits)).put(nameOf("a"), content(7), 1000);
  const later = await DirectoryBlobStore.open(directory, limits);
  assert.deepEqual(await later.get(nameOf("a"), 1000, 2000), Buffer.from(content(7)));
});

test("a file lies in a folder of its first digits, and no other file is left", async () => {
  const directory = newDirectory();
  const store = await DirectoryBlobStore.open(directory, limits);
  const name = nameOf("a");
  await store.put(name, content(7), 1_000_500);
  const file = join(directory, name.slice(0, 2), `${name}.kv`);
  assert.equal(statSync(file).mtimeMs, 1_000_500);
  assert.deepEqual(filesIn(directory), [`${name}.kv`]);
});

test("writers of one name and readers see one whole content or another, never a mixture", async () => {
  const directory = newDirectory();
  const [one, two] = [
    await DirectoryBlobStore.open(directory, limits),
    await DirectoryBlobStore.open(directory, limits),
  ];
  const name = nameOf("a");
  const size = 100_000;
  await one.put(name, content(0, size), 1000);
  const work = Array.from({ length: 120 }, async (_, i) => {
    const store = i % 2 ? one : two;
    if (i % 3 === 0) return store.put(name, content(i, size), 1000 + i);
    const found = await store.get(name, size, 1000 + i);
    assert.ok(typeof found !== "string");
    assert.ok(found.every((value) => value === found[0]));
  });
  await Promise.all(work);
  assert.deepEqual(filesIn(directory), [`${name}.kv`]);
});

test("two stores that fill one directory keep it near its limit, whoever removes what", async () => {
  const directory = newDirectory();
  const maxBytes = 100_000;
  const stores = [
    await DirectoryBlobStore.open(directory, { maxBytes, maxAgeMs: 1e9 }),
    await DirectoryBlobStore.open(directory, { maxBytes, maxAgeMs: 1e9 }),
  ];
  for (let i = 0; i < 400; i += 4) {
    const four = [i, i + 1, i + 2, i + 3].map((each) =>
      stores[each % 2].put(nameOf(`${each}`), content(each), 1000 + each),
    );
    await Promise.all(four);
    assert.ok(filesIn(directory).length * 1000 <= maxBytes * 1.05 + 4000);
  }
  assert.ok(await stores[0].touch(nameOf("398"), 1000, 2000));
  assert.ok(!(await stores[0].touch(nameOf("10"), 1000, 2000)));
});

test("what nobody used for long is removed when something is written", async () => {
  const directory = newDirectory();
  const store = await DirectoryBlobStore.open(directory, { maxBytes: 1e6, maxAgeMs: 1000 });
  for (let i = 0; i < 5; i++) await store.put(nameOf(`${i}`), content(i), 5000);
  await store.touch(nameOf("3"), 1000, 5900);
  await store.put(nameOf("new"), content(9), 6500);
  const kept = ["3", "new"].map((text) => `${nameOf(text)}.kv`);
  assert.deepEqual(filesIn(directory).sort(), kept.sort());
});

test("temporary files of dead writers go, those of live ones and foreign files stay", async () => {
  const directory = newDirectory();
  const store = await DirectoryBlobStore.open(directory, { maxBytes: 1500, maxAgeMs: 1e12 });
  const name = nameOf("a");
  const temporary = (age: string) => `${name}.kv.${age.repeat(36)}.tmp`;
  const now = Date.now();
  const folder = join(directory, name.slice(0, 2));
  const write = (file: string, ageMs: number) => {
    mkdirSync(join(file, ".."), { recursive: true });
    writeFileSync(file, content(1));
    utimesSync(file, (now - ageMs) / 1000, (now - ageMs) / 1000);
  };
  const twoHours = 7_200_000;
  write(join(folder, temporary("a")), twoHours);
  write(join(folder, temporary("b")), 1000);
  const foreign = [
    join(folder, "notes.txt"),
    join(directory, "mine.kv"),
    join(directory, "my/a.kv"),
  ];
  for (const file of foreign) write(file, twoHours);
  await store.put(name, content(2), now);
  await store.put(nameOf("b"), content(3), now + 1);
  assert.ok(!existsSync(join(folder, temporary("a"))));
  assert.ok(existsSync(join(folder, temporary("b"))));
  for (const file of foreign) assert.ok(existsSync(file), file);
  assert.equal(await store.get(name, 1000, now + 2), "absent", "only one fits");
});

test("deleting the whole directory while it is used costs its content, no more", async () => {
  const directory = newDirectory();
  const store = await DirectoryBlobStore.open(directory, limits);
  await store.put(nameOf("a"), content(1), 1000);
  rmSync(directory, { recursive: true });
  assert.equal(await store.get(nameOf("a"), 1000, 1001), "absent");
  assert.equal(await store.touch(nameOf("a"), 1000, 1001), false);
  await store.put(nameOf("a"), content(2), 1002);
  assert.deepEqual(await store.get(nameOf("a"), 1000, 1003), Buffer.from(content(2)));
});

test("a file that changes its length or is no file is not served", async () => {
  const directory = newDirectory();
  const store = await DirectoryBlobStore.open(directory, limits);
  const name = nameOf("a");
  const file = join(directory, name.slice(0, 2), `${name}.kv`);
  await store.put(name, content(1), 1000);
  for (const size of [0, 999, 1001, 50_000_000]) {
    truncateSync(file, size);
    assert.equal(await store.get(name, 1000, 1001), "wrong size");
  }
  rmSync(file);
  mkdirSync(file);
  const { size } = statSync(file);
  assert.equal(await store.get(name, size, Date.now()), "no file");
  await assert.rejects(store.put(name, content(1), Date.now()));
  assert.deepEqual(filesIn(directory), [], "no temporary file is left");
});

test("pipes and links in a file's place are no file, and hold up nobody", async () => {
  const directory = newDirectory();
  const store = await DirectoryBlobStore.open(directory, limits);
  const elsewhere = join(scratch, "elsewhere");
  writeFileSync(elsewhere, content(1));
  const names = Array.from({ length: 20 }, (_, i) => nameOf(`${i}`));
  for (const [i, name] of names.entries()) {
    await store.put(name, content(i), 1000);
    const file = join(directory, name.slice(0, 2), `${name}.kv`);
    rmSync(file);
    if (i % 2) execFileSync("mkfifo", [file]);
    else symlinkSync(elsewhere, file);
  }
  const now = Date.now();
  const read = names.map((name) => store.get(name, 1000, now));
  assert.deepEqual(await Promise.all(read), Array(20).fill("no file"));
  for (const name of names) {
    assert.equal(await store.touch(name, 1000, now), false);
    await store.put(name, content(2), now);
    assert.deepEqual(await store.get(name, 1000, now), Buffer.from(content(2)));
  }
  assert.equal(statSync(elsewhere).size, 1000);
});

test("files and folders are the server's own", async () => {
  const directory = newDirectory();
  const store = await DirectoryBlobStore.open(directory, limits);
  await store.put(nameOf("a"), content(1), 1000);
  const modes = readdirSync(directory, { recursive: true, withFileTypes: true }).map(
    (entry) => statSync(join(entry.parentPath, entry.name)).mode & 0o777,
  );
  assert.deepEqual(
    [statSync(directory).mode & 0o777, ...modes.sort((a, b) => b - a)],
    [0o700, 0o700, 0o600, 0o600],
  );
});

test("of all holders only three have a permit, and those of one that has ended come back", async () => {
  const shared = createPermits();
  const clock = new ManualClock();
  const holders = [0, 1, 2, 3].map((holder) => new FilePermits(shared, holder, clock));
  let running = 0;
  let most = 0;
  const work = (permits: FilePermits) =>
    permits.run(async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
    });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const turns = async () => {
    for (let i = 0; i < 200; i++, clock.advance(1)) await turn();
  };
  const all = Promise.all(Array.from({ length: 40 }, (_, i) => work(holders[i % 4])));
  await turns();
  await all;
  assert.equal(most, 3);
  for (let i = 0; i < 3; i++) void holders[0].run(() => new Promise(() => undefined));
  let isDone = false;
  const other = work(holders[1]).then(() => (isDone = true));
  await turns();
  assert.equal(isDone, false);
  new FilePermits(shared, 0).returnAll();
  clock.advance(100);
  await other;
});

test("a directory that cannot be written is named", async () => {
  const file = join(scratch, "file");
  writeFileSync(file, "");
  for (const directory of [file, join(file, "below")]) {
    await assert.rejects(DirectoryBlobStore.open(directory, limits), {
      message: new RegExp(`^cache directory ${directory} is not writable: E`),
    });
  }
});

test("a directory that does not answer is named after a while", async () => {
  const clock = new ManualClock();
  const opening = DirectoryBlobStore.open(join(scratch, "late"), limits, undefined, clock);
  clock.advance(10_000);
  await assert.rejects(opening, { message: /late has not answered in 10 s$/ });
  await DirectoryBlobStore.open(join(scratch, "in time"), limits, undefined, clock);
  assert.equal(clock.pending, 0);
});
