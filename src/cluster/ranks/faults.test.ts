import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { connect as connectTls } from "node:tls";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { encodeHeader, type FrameType, nodeFrame } from "../links/frame.ts";
import { FrameSocket } from "../links/frame-socket.ts";
import { identity, joinOptions, ManualClock, openOptions, secret, within } from "../fixtures.ts";
import { introduce, jsonFrame } from "../links/handshake.ts";
import { heartbeatInterval } from "../links/silence-watch.ts";
import { Relay } from "../relay-fixtures.ts";
import {
  joinCluster,
  type NodeMesh,
  openCluster,
  PeerLostError,
  type RankEndpoint,
  RankRouter,
  RankTransport,
} from "../index.ts";
import { clientTls } from "../links/secret.ts";

const places = [0, 1].map((node) => ({ rank: node, node }));
/** By clocks that move when told, so that a node is not taken for lost where a busy machine gives it no turn. */
const failureTimeoutMs = 30_000;
/** What a rank computes for that works hard, by its node's clock. */
const hardWorkMs = 1.5 * failureTimeoutMs;
/** What a busy machine may take for what happens at once. */
const promptlyMs = 4000;
const silence = /nothing was heard .* 30000 ms/;
/** How the system may tell that the other side is gone. */
const cutOff = /closed|ECONNRESET|EPIPE|ended by the other party/;

/**
 * The other process: a node with one rank in a thread of its own that sends back what it gets. Its clock moves by
 * the milliseconds it is sent.
 */
async function runNode(port: number): Promise<void> {
  const clock = new ManualClock();
  process.on("message", (milliseconds: number) => clock.advance(milliseconds));
  process.channel?.unref();
  const workDone = new Int32Array(new SharedArrayBuffer(4));
  clock.after(hardWorkMs, () => {
    Atomics.store(workDone, 0, 1);
    Atomics.notify(workDone, 0);
  });
  const handlers = { lost: () => stop() };
  const mesh = await joinCluster(joinOptions(port, { failureTimeoutMs, handlers, clock }));
  const router = new RankRouter({ mesh });
  router.add(places);
  const endpoint = router.endpoint(1);
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { endpoint, workDone } satisfies EchoRank,
    transferList: [endpoint.port],
  });
  worker.on("error", () => undefined);
  const stop = () => {
    router.close();
    void mesh.close();
  };
}

interface EchoRank {
  readonly endpoint: RankEndpoint;
  /** Becomes 1. */
  readonly workDone: Int32Array;
}

/** The rank in that thread. An empty message ends it as a bug would, a long one is hard work. */
async function echo({ endpoint, workDone }: EchoRank): Promise<void> {
  const transport = new RankTransport(endpoint);
  for (;;) {
    const message = await transport.receive(0, 0);
    if (message.length === 0) throw new Error("a bug");
    if (message.length > 1) Atomics.wait(workDone, 0, 0);
    await transport.send(0, 0, message);
  }
}

interface Scene {
  readonly child: ChildProcess;
  readonly exit: Promise<unknown>;
  readonly clock: ManualClock;
  readonly mesh: NodeMesh;
  readonly transport: RankTransport;
  /** What passes between the two nodes. */
  readonly wire: Relay;
  /** How the loss of the other node is reported. */
  readonly loss: Promise<string>;
}

/** Node 0 here and node 1 in a child process, with a wire between them that can be cut. */
async function setScene(context: TestContext): Promise<Scene> {
  let report!: (reason: string) => void;
  const loss = new Promise<string>((resolve) => (report = resolve));
  const handlers = { lost: (_node: number, reason: string) => report(reason) };
  const clock = new ManualClock();
  const opened = await openCluster(openOptions(2, { failureTimeoutMs, handlers, clock }));
  const wire = await Relay.start(opened.address.port);
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), String(wire.port)], {
    env: { ...process.env, NODE_TEST_CONTEXT: undefined },
    stdio: ["inherit", "inherit", "inherit", "ipc"],
  });
  const exit = once(child, "exit");
  const mesh = await within(10_000, opened.formed);
  const router = new RankRouter({ mesh });
  router.add(places);
  const transport = new RankTransport(router.endpoint(0));
  context.after(async () => {
    for (const one of [transport, router, mesh, wire]) await one.close();
    child.kill("SIGKILL");
    await exit;
  });
  await transport.send(1, 0, Uint8Array.of(42));
  assert.deepEqual(await transport.receive(1, 0), Uint8Array.of(42));
  return { child, exit, clock, mesh, transport, wire, loss };
}

/** Moves the clocks of both nodes. */
function advance({ child, clock }: Scene, milliseconds: number): void {
  child.send(milliseconds);
  clock.advance(milliseconds);
}

/** Everything that involves the lost rank fails in time, now and later. */
async function assertLost({ transport, loss }: Scene, act: () => void, reason: RegExp) {
  const pending = transport.receive(1, 0);
  // More than socket and window hold.
  const blocked = transport.send(1, 0, new Uint8Array(32_000_000));
  const refusals = [pending, blocked].map((operation) => assert.rejects(operation, PeerLostError));
  act();
  assert.match(await within(promptlyMs, loss), reason);
  await within(500, Promise.all(refusals));
  await assert.rejects(transport.send(1, 0, new Uint8Array(1)), PeerLostError);
  await assert.rejects(transport.receive(1, 0), PeerLostError);
}

function defineTests(): void {
  test("a killed node is reported", async (context) => {
    const scene = await setScene(context);
    await assertLost(scene, () => scene.child.kill("SIGKILL"), cutOff);
  });

  test("a frozen node is reported", async (context) => {
    const scene = await setScene(context);
    const freeze = () => {
      scene.child.kill("SIGSTOP");
      scene.clock.advance(failureTimeoutMs);
    };
    await assertLost(scene, freeze, silence);
    scene.child.kill("SIGCONT");
    await within(promptlyMs, scene.exit);
  });

  test("a cut wire is reported on both sides, and both end by themselves", async (context) => {
    const scene = await setScene(context);
    await assertLost(scene, () => scene.wire.cut(), cutOff);
    await within(promptlyMs, scene.exit);
    assert.equal(scene.child.exitCode, 0);
  });

  test("a wire that passes nothing more is reported on both sides", async (context) => {
    const scene = await setScene(context);
    const block = () => {
      scene.wire.block();
      advance(scene, failureTimeoutMs);
    };
    await assertLost(scene, block, silence);
    await within(promptlyMs, scene.exit);
    assert.equal(scene.child.exitCode, 0);
  });

  test("garbage on the wire ends the link", async (context) => {
    const scene = await setScene(context);
    const [, toHere] = scene.wire.sockets;
    await assertLost(scene, () => toHere.write("garbage of some length"), /SSL|closed/);
  });

  for (const side of [0, 1]) {
    test(`a flipped bit on the way to node ${side} closes the sockets of both`, async (context) => {
      const scene = await setScene(context);
      const { transport, exit } = scene;
      const wire = [...scene.wire.sockets];
      const closed = wire.map((socket) => once(socket, "close"));
      const [from, to] = side === 0 ? wire : wire.reverse();
      from.removeAllListeners("data");
      from.on("data", (data: Buffer) => {
        data[data.length - 1] ^= 1;
        // The side that saw the flipped bit may have closed already.
        if (to.writable) to.write(data);
      });
      const echoed = assert.rejects(transport.receive(1, 0), PeerLostError);
      await transport.send(1, 0, Uint8Array.of(42));
      await within(promptlyMs, echoed);
      await within(promptlyMs, Promise.all(closed));
      await within(promptlyMs, exit);
      assert.equal(scene.child.exitCode, 0);
    });
  }

  test("a rank that computes for longer than the limit is not given up", async (context) => {
    const scene = await setScene(context);
    const { transport, mesh } = scene;
    const [fromChild] = scene.wire.sockets;
    await transport.send(1, 0, Uint8Array.of(1, 2));
    for (let passed = 0; passed < hardWorkMs; passed += heartbeatInterval(failureTimeoutMs)) {
      const heartbeat = once(fromChild, "data");
      advance(scene, heartbeatInterval(failureTimeoutMs));
      await heartbeat;
    }
    assert.deepEqual(await transport.receive(1, 0), Uint8Array.of(1, 2));
    assert.deepEqual(mesh.connected, [1]);
  });

  test("a rank whose thread dies is reported, its node goes on", async (context) => {
    const { transport, mesh } = await setScene(context);
    const pending = assert.rejects(transport.receive(1, 0), /rank 1 is lost: its thread has ended/);
    await transport.send(1, 0, new Uint8Array(0));
    await within(promptlyMs, pending);
    assert.deepEqual(mesh.connected, [1]);
  });

  for (const [what, bytes, reason] of [
    ["garbage", Buffer.alloc(64, "x"), /expected a frame, got bytes that start with 78787878/],
    ["an oversized frame", oversized(), /data frame of 4026531840 bytes is over the limit/],
    ["a hello out of place", encodeHeader(nodeFrame("hello")), /a hello frame has no place/],
    ["nonsense as control", encodeHeader(nodeFrame("control")), /control frame: expected JSON/],
    // A small machine has not so much memory even to reserve.
    [
      "more begun than may be",
      begun("data", 17, 2 ** 29),
      /over the limit of 8\d+ bytes|no memory/,
    ],
    ["begun control messages", begun("control", 2, 2 ** 26), /over the limit of 1\d+ bytes/],
  ] as const) {
    test(`${what} from a node that knows the secret ends its link`, async (context) => {
      let report!: (reason: string) => void;
      const loss = new Promise<string>((resolve) => (report = resolve));
      const handlers = { lost: (_node: number, lost: string) => report(lost) };
      const opened = await openCluster(openOptions(2, { handlers }));
      const socket = await joinByHand(opened.address.port);
      const mesh = await opened.formed;
      context.after(() => [mesh.close(), socket.destroy()]);
      socket.write(bytes);
      assert.match(await within(promptlyMs, loss), reason);
      assert.deepEqual(mesh.connected, []);
    });
  }
}

function oversized(): Uint8Array {
  const header = encodeHeader({ ...nodeFrame("heartbeat"), type: "data" });
  header[16] = 0xf0;
  return header;
}

/** First bytes of messages of so many, on as many channels. */
const begun = (type: FrameType, count: number, bytes: number) =>
  Buffer.concat(
    Array.from({ length: count }, (_, channel) => {
      const frame = { ...nodeFrame(type, new Uint8Array(1)), channel, remaining: bytes - 1 };
      return Buffer.concat([encodeHeader(frame), frame.payload]);
    }),
  );

/** A node that has joined properly and can then say anything. */
async function joinByHand(port: number) {
  const socket = connectTls({ ...clientTls(secret), host: "127.0.0.1", port });
  await once(socket, "secureConnect");
  const frames = new FrameSocket(socket);
  await introduce(frames, { identity, member: null, listen: { host: null, port: 1 } });
  frames.write(jsonFrame("membership", { kind: "meshed" }));
  return socket;
}

if (!isMainThread) {
  parentPort?.on("message", () => undefined);
  await echo(workerData as EchoRank);
} else if (process.argv[2]) await runNode(Number(process.argv[2]));
else defineTests();
