import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { nodeFrame } from "./frame.ts";
import {
  brief,
  identity,
  joinOptions,
  openOptions,
  patience,
  secret,
  within,
} from "../fixtures.ts";
import { hearHello, introduce, jsonFrame, PROTOCOL } from "./handshake.ts";
import {
  clusterSecret,
  generateSecret,
  joinCluster,
  openCluster,
  type OpenOptions,
  readSecret,
} from "../index.ts";
import { dial, listen } from "./tls-socket.ts";

/** A coordinator that waits for nodes, and its next refusals. */
async function awaitNodes(context: TestContext, more: Partial<OpenOptions> = {}) {
  const refusals: string[] = [];
  let wake = () => {};
  const refused = (reason: string) => {
    refusals.push(reason);
    wake();
  };
  const opened = await openCluster(openOptions(2, { refused, ...more }));
  context.after(() => opened.close());
  const refusal = async () => {
    if (refusals.length === 0) await within(3000, new Promise<void>((resolve) => (wake = resolve)));
    return refusals.shift();
  };
  return { port: opened.address.port, opened, refusal };
}

const otherIdentity = {
  version: "other",
  modelBytes: "other",
  modelHash: "other",
  policy: "other",
  bits: "other",
  numericsVersion: 999,
};

for (const field of Object.keys(otherIdentity) as (keyof typeof otherIdentity)[]) {
  test(`a node with another ${field} is refused, and both sides say why`, async (context) => {
    const { port, refusal } = await awaitNodes(context);
    const other = { ...identity, [field]: otherIdentity[field] };
    const [own, theirs] = [identity, other].map((each) => JSON.stringify(each[field]));
    const message = `${field}: the cluster has ${own}, the joining node ${theirs}`;
    const joining = joinCluster(joinOptions(port, { identity: other }));
    await assert.rejects(joining, { name: "HandshakeError", message });
    assert.ok((await refusal())?.endsWith(message));
  });
}

test("a node of another protocol version is refused", async (context) => {
  const { port, refusal } = await awaitNodes(context);
  const socket = await dial({ host: "127.0.0.1", port }, secret, patience);
  socket.write(jsonFrame("hello", { protocol: 99 }));
  const answer = await socket.read();
  const problem = `protocol: the cluster has ${PROTOCOL}, the joining node 99`;
  assert.ok(Buffer.from(answer.payload).toString().includes(problem));
  assert.ok((await refusal())?.includes(problem));
});

test("a node with another secret is refused", async (context) => {
  const { port, refusal } = await awaitNodes(context);
  const joining = joinCluster(joinOptions(port, { secret: clusterSecret(generateSecret()) }));
  const message = /the other side does not know this cluster's secret/;
  await assert.rejects(joining, { name: "HandshakeError", message });
  assert.match((await refusal()) ?? "", message);
});

test("whoever speaks no TLS, or nothing at all, is refused in time", async (context) => {
  const { port, refusal } = await awaitNodes(context, brief);
  const browser = connect(port, "127.0.0.1");
  browser.on("error", () => undefined);
  browser.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  assert.match((await refusal()) ?? "", /127.0.0.1:\d+: /);
  const mute = connect(port, "127.0.0.1");
  mute.on("error", () => undefined);
  assert.match((await refusal()) ?? "", /TLS handshake timeout/);
  for (const socket of [browser, mute]) socket.destroy();
});

test("whoever knows the secret and then says nothing or nonsense is refused", async (context) => {
  const { port, refusal } = await awaitNodes(context, brief);
  const address = { host: "127.0.0.1", port };
  const mute = await dial(address, secret, patience);
  assert.match((await refusal()) ?? "", /no handshake within 500 ms/);
  const hasty = await dial(address, secret, patience);
  hasty.write(nodeFrame("heartbeat"));
  assert.match((await refusal()) ?? "", /expected a hello frame, got heartbeat/);
  const careless = await dial(address, secret, patience);
  careless.write(nodeFrame("hello", Buffer.from("{]")));
  assert.match((await refusal()) ?? "", /hello frame: expected JSON/);
  const vague = await dial(address, secret, patience);
  vague.write(jsonFrame("hello", { protocol: PROTOCOL, identity: 7 }));
  assert.match((await refusal()) ?? "", /hello frame: identity: .*expected object/);
  for (const socket of [mute, hasty, careless, vague]) socket.destroy(new Error("done"));
});

test("a coordinator that is gone, mute or garbled is told to whoever joins", async (context) => {
  const nobody = joinCluster(joinOptions(1));
  await assert.rejects(nobody, /127.0.0.1:1: .*ECONNREFUSED/);
  for (const [answer, message] of [
    [undefined, /no handshake within 500 ms/],
    [jsonFrame("hello", { node: -1 }), /hello frame: cluster: /],
    [nodeFrame("control"), /expected a hello frame, got control/],
  ] as const) {
    const odd = await listen({ host: "127.0.0.1", port: 0 }, secret, patience, {
      connected: (socket) => {
        void hearHello(socket).then(() => answer && socket.write(answer));
      },
      refused: () => undefined,
    });
    context.after(() => odd.close());
    await assert.rejects(joinCluster(joinOptions(odd.address.port, brief)), { message });
  }
});

test("a node that leaves while it joins is told of, and its number is given to nobody else", async (context) => {
  const { port, opened, refusal } = await awaitNodes(context, { nodes: 3 });
  const hello = { identity, member: null, listen: { host: null, port: 1 } };
  const leaving = await dial({ host: "127.0.0.1", port }, secret, patience);
  assert.equal((await introduce(leaving, hello)).node, 1);
  leaving.destroy(new Error("left"));
  assert.match((await refusal()) ?? "", /node 1 was lost while it joined/);
  const joining = [0, 1].map(() => joinCluster(joinOptions(port)));
  const meshes = await within(3000, Promise.all([opened.formed, ...joining]));
  assert.deepEqual(new Set(meshes.map(({ node }) => node)), new Set([0, 2, 3]));
  for (const mesh of meshes) await mesh.close();
});

test("a flood of connections that say nothing, or nonsense, keeps no node out", async (context) => {
  const { port, opened } = await awaitNodes(context);
  const flood = Array.from({ length: 500 }, (_, i) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    if (i % 5 === 0) socket.write(Buffer.alloc(3, 22));
    return socket;
  });
  await Promise.all(flood.map((socket) => once(socket, "connect")));
  const joined = joinCluster(joinOptions(port));
  const meshes = await within(10_000, Promise.all([opened.formed, joined]));
  const open = flood.filter(({ closed }) => !closed).length;
  assert.ok(open <= 256, `${open} of the flood are open`);
  for (const socket of flood) socket.destroy();
  for (const mesh of meshes) await mesh.close();
});

test("a node takes only the peers its coordinator has numbered", async (context) => {
  const { port } = await awaitNodes(context, { nodes: 4 });
  const free = await listen({ host: "127.0.0.1", port: 0 }, secret, patience, {
    connected: () => undefined,
    refused: () => undefined,
  });
  free.close();
  const first = await joinCluster(joinOptions(port, { listen: free.address }));
  const hello = { identity, listen: { host: null, port: 1 } };
  const coordinator = await dial({ host: "127.0.0.1", port }, secret, patience);
  const { cluster } = await introduce(coordinator, { ...hello, member: null });
  for (const [member, message] of [
    [null, /this node is not the cluster's coordinator/],
    [{ cluster: "another", node: 2 }, /this node is not the cluster's coordinator/],
    [{ cluster, node: 1 }, /expects no connection from a node 1/],
  ] as const) {
    const socket = await dial(free.address, secret, patience);
    const refused = { name: "HandshakeError", message };
    await assert.rejects(introduce(socket, { ...hello, member }), refused);
    socket.destroy(new Error("done"));
  }
  coordinator.destroy(new Error("done"));
  await first.close();
});

test("a cluster closed while it waits is lost to those who have joined", async () => {
  const opened = await openCluster(openOptions(3));
  let lose: (node: number) => void = () => undefined;
  const lost = new Promise<number>((resolve) => (lose = resolve));
  const handlers = { lost: (node: number) => lose(node) };
  const mesh = await joinCluster(joinOptions(opened.address.port, { handlers }));
  opened.close();
  await assert.rejects(opened.formed, /closed before it had formed/);
  assert.equal(await within(3000, lost), 0);
  await mesh.close();
});

test("an address in use cannot be listened at", async (context) => {
  const { port } = await awaitNodes(context);
  const again = openCluster(openOptions(2, { listen: { host: "127.0.0.1", port } }));
  await assert.rejects(again, /EADDRINUSE/);
});

test("a secret is read from a file without the white space around it", (context) => {
  const directory = mkdtempSync(join(tmpdir(), "daysix-secret-"));
  context.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "secret");
  const text = generateSecret();
  writeFileSync(file, `${text}\n`);
  assert.deepEqual(readSecret(file), clusterSecret(text));
  writeFileSync(file, "short\n");
  assert.throws(() => readSecret(file), /secret file .*: expected a secret of at least 16 bytes/);
  assert.throws(() => readSecret(join(directory, "none")), /secret file .*ENOENT/);
});
