import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import type { Worker } from "node:worker_threads";
import { parseTopology } from "../../cluster/index.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import { readConfig } from "../../model/index.ts";
import { ReadIdentity } from "./fleet-identity.ts";
import { firstUnits, planFleet, settingsOf, type Launch } from "./fleet-plan.ts";
import { NodeRanks } from "./node-ranks.ts";

const [{ directory: modelDirectory }] = tinyFixtures();
const config = await readConfig(modelDirectory);

function launchOf(): Launch {
  const topology = parseTopology("combined=1x2");
  const kept = {
    policy: "f32",
    kvMemoryBytes: 2 ** 20,
    chunkRows: 64,
    experts: "replicated",
  } as const;
  const plan = planFleet({ ...kept, topology, nodes: 1 }, config);
  const units = firstUnits(plan);
  return { settings: settingsOf(plan), units, ranks: units.flatMap(({ ranks }) => ranks) };
}

function openRanks() {
  const lost: number[] = [];
  const ranks = new NodeRanks({
    ...{ modelDirectory, identity: new ReadIdentity(modelDirectory, "sample"), weights: "mapped" },
    listener: { heard: () => undefined, lost: (rank) => lost.push(rank) },
  });
  return { ranks, lost };
}

const openPorts = () =>
  process.getActiveResourcesInfo().filter((resource) => resource === "MessagePort").length;

for (const how of ["end", "close"] as const) {
  test(`threads that open the model when they are to ${how} have ended when that is done`, async () => {
    const { ranks, lost } = openRanks();
    const threads: Worker[] = [];
    process.on("worker", (worker: Worker) => threads.push(worker));
    const started = ranks.start(launchOf());
    const failed = assert.rejects(started, /ended .* before it was ready/);
    await once(process, "worker");
    await (how === "end" ? ranks.end([0, 1], false) : ranks.close());
    process.removeAllListeners("worker");
    assert.deepEqual(
      threads.map(({ threadId }) => threadId),
      [-1, -1],
    );
    await failed;
    assert.deepEqual([ranks.rank(0), ranks.rank(1), lost], [undefined, undefined, []]);
    await ranks.close();
  });
}

test("ranks that are to end before they have threads get none", async () => {
  const { ranks } = openRanks();
  const started = ranks.start(launchOf());
  const failed = assert.rejects(started, /to end before it had started/);
  await ranks.end([0, 1], true);
  await failed;
  await ranks.close();
});

test("ranks that do not fit the machine leave no ports", async () => {
  const { ranks } = openRanks();
  const before = openPorts();
  const { settings, ...launch } = launchOf();
  const started = ranks.start({ ...launch, settings: { ...settings, kvMemoryBytes: 2 ** 50 } });
  await assert.rejects(started, /do not fit this machine/);
  assert.equal(openPorts(), before);
  await ranks.close();
});
