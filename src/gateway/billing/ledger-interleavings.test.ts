import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { type FakeDisk, openFakeLedger, requestRecord } from "./ledger-fixtures.ts";

/** What others do to a ledger's file, or a disk to a server, before one of its operations. */
const disturbances = [
  "remove",
  "rename",
  "copy and empty",
  "append",
  "fill up",
  "fail to sync",
  "fail once",
  "recover",
] as const;
type Disturbance = (typeof disturbances)[number];

/** By the number of the operation it comes before. */
const planOf = (kinds: readonly Disturbance[]) =>
  fc.array(fc.record({ at: fc.nat(60), kind: fc.constantFrom(...kinds), room: fc.nat(700) }), {
    maxLength: 8,
  });

const wholeIds = (content: string) =>
  content.split("\n").flatMap((line) => /^\{.*"id":"([^"]*)".*\}$/.exec(line)?.[1] ?? []);

/** Bills in two waves each, while a plan is carried out, and then in peace. */
async function run(plan: readonly { at: number; kind: Disturbance; room: number }[]) {
  const { ledger, disk } = await openFakeLedger();
  const kept: string[] = [];
  const acknowledged = new Set<string>();
  const refused = new Set<string>();
  const removed = new Set<string>();
  const foreign: string[] = [];
  let operation = 0;

  const disturb = (kind: Disturbance, room: number) => {
    const { file } = disk;
    if (kind === "recover") recover(disk);
    if (kind === "fail once") throw new Error("a passing failure");
    if (!file) return;
    if (kind === "fill up") file.room = room;
    if (kind === "fail to sync") file.syncFails = true;
    if (kind === "append") {
      const id = `foreign ${foreign.length}`;
      foreign.push(id);
      // As another server would: a torn line is closed first.
      const isTorn = file.content !== "" && !file.content.endsWith("\n");
      file.content += `${isTorn ? "\n" : ""}{"id":"${id}"}\n`;
    }
    if (kind === "copy and empty") {
      kept.push(file.content);
      file.content = "";
    }
    if (kind === "rename") {
      const renamed = file;
      renames.push(() => renamed.content);
      disk.file = undefined;
    }
    if (kind === "remove") {
      // What was acknowledged until now is gone by the remover's will.
      for (const id of wholeIds(file.content)) removed.add(id);
      file.nlink = 0;
      disk.file = undefined;
    }
  };
  const renames: (() => string)[] = [];
  disk.before = async (call) => {
    const now = operation++;
    // Whoever is told of a record hears it before anything else happens.
    await setImmediate();
    for (const { at, kind, room } of plan) {
      // No file system looks and cuts in one: that no other server writes then is the lock's part.
      if (at !== now || (kind === "append" && call === "truncate")) continue;
      for (const id of acknowledged) if (kind === "remove") seen.add(id);
      disturb(kind, room);
    }
  };
  const seen = new Set<string>();
  const bill = async (id: string) => {
    await ledger.append(requestRecord({ id })).then(
      () => acknowledged.add(id),
      () => refused.add(id),
    );
  };

  for (let wave = 0; wave < 5; wave++) {
    await Promise.all([bill(`${wave}a`), bill(`${wave}b`)]);
  }
  disk.before = async () => undefined;
  recover(disk);
  // The first may be told that somebody else has written where a write has failed.
  await bill("peace");
  await bill("last");
  await ledger.close();
  const contents = [...kept, ...renames.map((content) => content()), disk.file?.content ?? ""];
  const ids = contents.flatMap(wholeIds);
  const mayBeGone = new Set([...removed].filter((id) => seen.has(id) || id.startsWith("foreign")));
  return { ids, acknowledged, refused, foreign, mayBeGone };
}

function recover({ file }: FakeDisk): void {
  if (!file) return;
  file.room = undefined;
  file.syncFails = false;
}

test("whatever happens to the file, nothing acknowledged and nobody else's line is lost", async () => {
  await fc.assert(
    fc.asyncProperty(planOf(disturbances), async (plan) => {
      const { ids, acknowledged, foreign, mayBeGone } = await run(plan);
      assert.ok(acknowledged.has("last"));
      for (const id of [...acknowledged, ...foreign]) {
        assert.ok(ids.includes(id) || mayBeGone.has(id), `${id} is lost: ${ids.join()}`);
      }
    }),
    { numRuns: 400 },
  );
});

test("while nobody else writes or copies, each bill is there once and no refused one is", async () => {
  const kinds = disturbances.filter((kind) => kind !== "append" && kind !== "copy and empty");
  await fc.assert(
    fc.asyncProperty(planOf(kinds), async (plan) => {
      const { ids, acknowledged, refused, mayBeGone } = await run(plan);
      const expected = [...acknowledged].filter((id) => !mayBeGone.has(id) || ids.includes(id));
      assert.deepEqual([...ids].sort(), expected.sort());
      for (const id of refused) assert.ok(!ids.includes(id), `${id} was refused`);
    }),
    { numRuns: 400 },
  );
});
