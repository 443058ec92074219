import assert from "node:assert/strict";
import {
  appendFile,
  copyFile,
  mkdir,
  mkdtemp,
  readFile,
  rename,
  rm,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openFakeLedger, requestRecord, topologyRecord } from "./ledger-fixtures.ts";
import { encodeRecord, type LedgerRecord } from "./ledger-record.ts";
import { Ledger } from "./ledger.ts";
import { readLedger } from "./read-ledger.ts";

const directory = await mkdtemp(join(tmpdir(), "daysix-ledger-"));
after(() => rm(directory, { recursive: true }));

const record = (id: string) => requestRecord({ id });

async function read(path: string) {
  const records: LedgerRecord[] = [];
  const unreadable: number[] = [];
  for await (const line of readLedger(path)) {
    if (line.kind === "record") records.push(line.record);
    else unreadable.push(line.line);
  }
  return { records, unreadable };
}

const idsOf = (records: readonly LedgerRecord[]) =>
  records.map((each) => (each.kind === "request" ? each.id : each.event));

test("what is appended is read back, and is on the file when the promise says so", async () => {
  const path = join(directory, "round-trip.jsonl");
  const ledger = await Ledger.open(path);
  const records = [
    topologyRecord("08:00:00", "start"),
    requestRecord({ model: 'a\u2028b"\n' }),
    requestRecord({
      outcome: "left",
      finishReasons: [null, "tool_calls"],
      billing: { kind: "unbilled", reason: "untold" },
    }),
  ];
  for (const each of records) {
    await ledger.append(each);
    assert.ok((await readFile(path, "utf8")).endsWith(`${encodeRecord(each)}\n`));
  }
  await ledger.close();
  assert.deepEqual(await read(path), { records, unreadable: [] });
  const [, line] = (await readFile(path, "utf8")).split("\n");
  const { time, billing } = JSON.parse(line) as Record<string, Record<string, unknown>>;
  assert.equal(time, "2025-02-27T12:00:00.000Z");
  assert.deepEqual(billing["picodollars"], {
    hit: "8960000",
    miss: "19800000",
    output: "21900000",
  });
});

test("a ledger that is opened again is gone on with", async () => {
  const path = join(directory, "again.jsonl");
  for (const id of ["a", "b"]) {
    const ledger = await Ledger.open(path);
    await ledger.append(record(id));
    await ledger.close();
  }
  const { records, unreadable } = await read(path);
  assert.deepEqual([idsOf(records), unreadable], [["a", "b"], []]);
});

test("a ledger cut anywhere keeps all its whole lines, and what comes after", async () => {
  const path = join(directory, "torn.jsonl");
  const lines = [topologyRecord("08:00:00", "start"), record("ä")].map(encodeRecord);
  const whole = Buffer.from(`${lines.join("\n")}\n`);
  const ends = lines.map((_, i) => Buffer.byteLength(lines.slice(0, i + 1).join("\n")));
  for (let length = 0; length <= whole.length; length++) {
    await writeFile(path, whole.subarray(0, length));
    // A line is whole with its last brace, newline or not.
    const survivors = ends.filter((end) => end <= length).length;
    const torn = length > 0 && !ends.some((end) => end === length || end + 1 === length);
    const before = await read(path);
    assert.equal(before.records.length, survivors, `cut at ${length}`);
    assert.deepEqual(before.unreadable, torn ? [survivors + 1] : [], `cut at ${length}`);

    const ledger = await Ledger.open(path);
    await ledger.append(record("after"));
    await ledger.close();
    const { records, unreadable } = await read(path);
    assert.deepEqual(idsOf(records), [...idsOf(before.records), "after"], `cut at ${length}`);
    assert.deepEqual(unreadable, before.unreadable, `cut at ${length}`);
  }
});

test("a line that is no record is told by its number and what is wrong, and the others count", async () => {
  const path = join(directory, "foreign.jsonl");
  const lines = [encodeRecord(record("a")), "\0\0\0", "", '{"kind":"refund"}'];
  const negative = encodeRecord(record("b")).replace('"miss":36', '"miss":-36');
  await writeFile(path, [...lines, negative, encodeRecord(record("c"))].join("\n"));
  const problems: string[] = [];
  const ids: string[] = [];
  for await (const line of readLedger(path)) {
    if (line.kind === "unreadable") problems.push(`${line.line}: ${line.problem}`);
    else ids.push(...idsOf([line.record]));
  }
  assert.deepEqual(ids, ["a", "c"]);
  assert.deepEqual(
    problems.map((problem) => problem.slice(0, 8)),
    ["2: not a", "3: not a", "4: kind:", "5: token"],
  );
});

test("requests that end together share one sync, those that come meanwhile the next", async () => {
  const { ledger, file } = await openFakeLedger();
  const together = ["a", "b", "c"].map((id) => ledger.append(record(id)));
  await together[0];
  await Promise.all([together[1], together[2], ledger.append(record("d"))]);
  assert.deepEqual(file.calls, ["write", "sync", "write", "sync"]);
  assert.deepEqual(file.ids, ["a", "b", "c", "d"]);
});

test("a failed write is told, leaves no half line, and the next one may succeed", async () => {
  const { ledger, file } = await openFakeLedger();
  await ledger.append(record("a"));
  file.room = 10;
  const lost = [ledger.append(record("b")), ledger.append(record("c"))];
  for (const each of lost) await assert.rejects(each, /no space/);
  assert.match(String(ledger.problem), /no space/);
  file.room = undefined;
  await ledger.append(record("d"));
  assert.equal(ledger.problem, undefined);
  assert.deepEqual(file.ids, ["a", "d"]);
});

test("a line that could not be synced is not left behind for somebody to be charged", async () => {
  const { ledger, file } = await openFakeLedger();
  file.syncFails = true;
  await assert.rejects(ledger.append(record("a")), /input\/output/);
  assert.equal(file.content.length > 0, true);
  file.syncFails = false;
  await ledger.append(record("b"));
  assert.deepEqual(file.ids, ["b"]);
  file.syncFails = true;
  await assert.rejects(ledger.append(record("c")));
  await ledger.close();
  assert.deepEqual(file.ids, ["b"]);
});

test("closing waits for what is under way", async () => {
  const { ledger, file } = await openFakeLedger();
  const appended = ledger.append(record("a"));
  await ledger.close();
  assert.deepEqual(file.calls, ["write", "sync", "close"]);
  await appended;
});

test("lines that somebody else appends stay, and a torn one is closed before the next", async () => {
  const path = join(directory, "shared.jsonl");
  const ledger = await Ledger.open(path);
  await ledger.append(record("a"));
  await appendFile(path, `${encodeRecord(record("foreign"))}\n{"kind":"requ`);
  await ledger.append(record("b"));
  await ledger.close();
  const { records, unreadable } = await read(path);
  assert.deepEqual([idsOf(records), unreadable], [["a", "foreign", "b"], [3]]);
});

test("what follows a removed, renamed, replaced or emptied file goes where its name leads", async () => {
  const path = join(directory, "rotated.jsonl");
  const kept = join(directory, "rotated.1.jsonl");
  const changes: [name: string, change: () => Promise<unknown>, before: string[]][] = [
    ["removed", () => rm(path), []],
    ["renamed", () => rename(path, kept), ["a"]],
    ["replaced", () => rename(path, kept).then(() => writeFile(path, "")), ["a"]],
    ["emptied", () => copyFile(path, kept).then(() => truncate(path)), ["a"]],
  ];
  for (const [name, change, before] of changes) {
    const ledger = await Ledger.open(path);
    await ledger.append(record("a"));
    await change();
    await ledger.append(record("b"));
    await ledger.append(record("c"));
    await ledger.close();
    assert.deepEqual(idsOf((await read(path)).records), ["b", "c"], name);
    if (before.length > 0) assert.deepEqual(idsOf((await read(kept)).records), before, name);
    await rm(path);
  }
});

test("a ledger whose folder is away is told, and is written when it is back", async () => {
  const folder = join(directory, "folder");
  const path = join(folder, "ledger.jsonl");
  await mkdir(folder);
  const ledger = await Ledger.open(path);
  await rename(folder, `${folder}.away`);
  await assert.rejects(ledger.append(record("a")), /ENOENT/);
  await mkdir(folder);
  await ledger.append(record("b"));
  await ledger.close();
  assert.deepEqual(idsOf((await read(path)).records), ["b"]);
});

test("a failed write takes back its own bytes and never a line of somebody else", async () => {
  const { ledger, file } = await openFakeLedger();
  await ledger.append(record("a"));
  file.room = 10;
  await assert.rejects(ledger.append(record("b")), /no space/);
  file.room = undefined;
  file.content += `\n${encodeRecord(record("acknowledged by another server"))}\n`;
  await assert.rejects(ledger.append(record("c")), /written by somebody else from byte \d+ on/);
  await ledger.append(record("d"));
  await ledger.close();
  const ids = file.content.split("\n").flatMap((line) => /"id":"([^"]*)"/.exec(line)?.[1] ?? []);
  assert.deepEqual(ids, ["a", "acknowledged by another server", "d"]);
});

test("a disk that does not answer is a problem after a while", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { ledger, disk } = await openFakeLedger();
  const told: string[] = [];
  ledger.onProblem = (problem) => void told.push(String(problem));
  let answer = () => {};
  let appended: Promise<void> | undefined;
  await new Promise<void>((asked) => {
    disk.before = () => {
      asked();
      return new Promise((resolve) => (answer = resolve));
    };
    appended = ledger.append(record("a"));
  });
  t.mock.timers.tick(9999);
  assert.equal(ledger.problem, undefined);
  t.mock.timers.tick(1);
  assert.match(String(ledger.problem), /ledger\.jsonl is not written within 10 s/);
  disk.before = async () => undefined;
  answer();
  await appended;
  assert.equal(ledger.problem, undefined);
  const slow = "LedgerError: ledger.jsonl is not written within 10 s";
  assert.deepEqual(told, [slow, "undefined"]);
});

test("a ledger that cannot be opened is refused by its name", async () => {
  const path = join(directory, "missing", "ledger.jsonl");
  await assert.rejects(Ledger.open(path), {
    name: "LedgerError",
    message: new RegExp(`^cannot open the ledger ${path}: ENOENT`),
  });
});
