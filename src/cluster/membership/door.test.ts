import assert from "node:assert/strict";
import { test } from "node:test";
import { identity, joinOptions, openOptions, secret, patience } from "../fixtures.ts";
import { Door } from "./door.ts";
import { joinCluster } from "./join-cluster.ts";
import { openCluster } from "./open-cluster.ts";

async function openDoor(models: readonly string[], refused: (reason: string) => void = () => {}) {
  const listen = { host: "127.0.0.1", port: 0 };
  return Door.open({ listen, secret, patience, models, refused });
}

const identityOf = (model: string) => ({ ...identity, modelHash: model });

const openAt = (door: Door, model: string, nodes: number) =>
  openCluster(openOptions(nodes, { listen: door, model, identity: identityOf(model) }));

test("nodes join the clusters of several models at one port, and reach each other at one of their own", async () => {
  const models = ["a", "b"];
  const door = await openDoor(models);
  const opened = await Promise.all(models.map((model) => openAt(door, model, 3)));
  const nodes = [await openDoor(models), await openDoor(models)];
  const joined = await Promise.all(
    nodes.flatMap((own) =>
      models.map((model) => {
        const of = { model, identity: identityOf(model), listen: own };
        return joinCluster(joinOptions(door.address.port, of));
      }),
    ),
  );
  const coordinators = await Promise.all(opened.map(({ formed }) => formed));
  assert.deepEqual(
    joined.map(({ connected }) => connected.length),
    [2, 2, 2, 2],
  );
  for (const mesh of [...coordinators, ...joined]) await mesh.close();
  for (const each of [door, ...nodes]) each.close();
});

test("a node of no model there is refused by name, and one of a model to come may try again", async () => {
  const refusals: string[] = [];
  const door = await openDoor(["a", "late"], (reason) => refusals.push(reason));
  const opened = await openAt(door, "a", 2);
  const { port } = door.address;
  const join = (model: { model?: string }, modelHash = "a") =>
    joinCluster(joinOptions(port, { ...model, identity: { ...identity, modelHash } }));
  const own = "model: the cluster has a, late, the joining node";
  await assert.rejects(join({}), { name: "HandshakeError", message: `${own} names none` });
  await assert.rejects(join({ model: "c" }), { name: "HandshakeError", message: `${own} has c` });
  await assert.rejects(join({ model: "late" }), ({ name }) => name !== "HandshakeError");
  await assert.rejects(join({ model: "a" }, "other"), {
    message: 'modelHash: the cluster has "a", the joining node "other"',
  });
  assert.match(refusals.at(-1) ?? "", /the cluster of late is not there yet, or no more$/);
  const mesh = await join({ model: "a" });
  await (await opened.formed).close();
  await mesh.close();
  await assert.rejects(join({ model: "a" }), ({ name }) => name !== "HandshakeError");
  door.close();
});
