import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { joinOptions, ManualClock, secret } from "../../cluster/fixtures.ts";
import { joinCluster, parseTopology, type NodeMesh } from "../../cluster/index.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import { readConfig } from "../../model/index.ts";
import { fleetIdentity, ReadIdentity } from "./fleet-identity.ts";
import { planFleet } from "./fleet-plan.ts";
import { Fleet } from "./fleet.ts";

const [{ directory: modelDirectory }] = tinyFixtures().filter(({ name }) => name === "v3");
const policy = "f32";
const failureTimeoutMs = 5000;
const identity = fleetIdentity(await new ReadIdentity(modelDirectory, "sample").get(), policy);
const limits = { maxModelLen: 100, vocabSize: 128, eosTokens: [1], pages: 10 };

/** A node that joins and lives; what it answers when it is asked to start ranks. */
async function joinNode(port: number, start: () => Promise<unknown>) {
  let hear: (reason: string) => void;
  const lost = new Promise<string>((resolve) => (hear = resolve));
  const mesh = await joinCluster(
    joinOptions(port, {
      ...{ identity, secret, failureTimeoutMs },
      handlers: {
        asked: async (body) => ((body as { kind: string }).kind === "start" ? start() : null),
        lost: (_node, reason) => hear(reason),
      },
    }),
  );
  return { mesh, lost };
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await delay(5);
}

test("a node that lives but does not start its ranks is given up, and another takes its place", async (t) => {
  const clock = new ManualClock();
  const config = await readConfig(modelDirectory);
  const topology = parseTopology("combined=2x1");
  const kept = { policy, kvMemoryBytes: 2 ** 20, chunkRows: 32 } as const;
  let tellPort: (port: number) => void = () => undefined;
  const listening = new Promise<number>((resolve) => (tellPort = resolve));
  const starting = Fleet.start({
    ...{ plan: planFleet({ ...kept, topology, nodes: [1, 1] }, config), clock },
    ...{ modelDirectory, modelBytes: "sample", weights: "mapped", place: async () => null },
    nodes: {
      ...{ count: [1, 1], failureTimeoutMs },
      await: { listen: { host: "127.0.0.1", port: 0 }, secret, listening: tellPort },
    },
    listener: {
      ...{ heard: () => undefined, lost: () => undefined, changed: () => undefined },
      ...{ serving: () => undefined, draining: () => undefined, hopeless: assert.fail },
    },
  });
  const port = await listening;
  const meshes: NodeMesh[] = [];
  const join = async (start: () => Promise<unknown>) => {
    const joined = await joinNode(port, start);
    meshes.push(joined.mesh);
    return joined;
  };
  const first = await join(async () => [limits]);
  const fleet = await starting;
  t.after(async () => {
    for (const mesh of meshes) await mesh.close();
    await fleet.close();
  });
  const states = () =>
    fleet.units.map(({ state, ranks }) => `${state} on ${ranks.map(({ node }) => node).join()}`);
  assert.deepEqual(states(), ["serving on 0", "serving on 1"]);

  await first.mesh.close();
  await until(() => fleet.units.some(({ state }) => state === "lost"));
  let isAsked = false;
  const second = await join(() => {
    isAsked = true;
    return new Promise(() => undefined);
  });
  clock.advance(1000);
  await until(() => isAsked);
  assert.deepEqual(states(), ["serving on 0", "lost on ", "starting on 2"]);
  clock.advance(599_000);
  assert.deepEqual(fleet.problems, []);
  clock.advance(2000);
  assert.match(await second.lost, /closed|ended|cut|ECONNRESET/);
  await until(() => fleet.problems.length > 0);
  assert.deepEqual(fleet.problems, ["node 2: it has not started its ranks within 600 s"]);
  assert.equal(states()[0], "serving on 0");

  await join(async () => [limits]);
  await until(() => {
    clock.advance(1000);
    return states().join() === "serving on 0,serving on 3";
  });
  assert.deepEqual(fleet.problems, []);
});
