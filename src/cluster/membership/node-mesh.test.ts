import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formCluster, joinOptions, openOptions, routeRanks, within } from "../fixtures.ts";
import {
  ControlError,
  joinCluster,
  type NodeMesh,
  openCluster,
  parseWire,
  PeerLostError,
  RankRouter,
  RankTransport,
} from "../index.ts";

const close = (...closing: readonly { close(): void }[]) => {
  for (const one of closing) one.close();
};

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

const message = fc.record({
  from: fc.nat(4),
  to: fc.nat(4),
  channel: fc.nat(2),
  size: fc.oneof(fc.nat(100), fc.constantFrom(0, 131_073, 300_000)),
});

test("ranks of three nodes exchange messages whole and in order, in memory of some before", async () => {
  const meshes = await formCluster(3);
  const { routers, transports } = routeRanks(meshes, [0, 0, 1, 2, 2]);
  const property = fc.asyncProperty(fc.array(message, { maxLength: 40 }), async (plan) => {
    const content = (index: number) => new Uint8Array(plan[index].size).fill(index + 1);
    const sends = plan.map(({ from, to, channel }, index) =>
      transports[from].send(to, channel, content(index)),
    );
    for (const [index, { from, to, channel }] of plan.entries()) {
      const got = await transports[to].receive(from, channel);
      assert.equal(Buffer.compare(got, content(index)), 0, `message ${index}`);
      if (index % 4 > 0) transports[to].release(got);
    }
    await Promise.all(sends);
  });
  await fc.assert(property, { numRuns: 30 });
  close(...transports, ...routers, ...meshes);
});

test("what passes an emulated wire arrives whole and in order, between nodes and between ranks", async () => {
  const wire = parseWire("100us,1Gbps");
  const meshes = await formCluster(2, {}, { wire });
  const apart = new RankRouter({ wire });
  apart.add([0, 1].map((rank) => ({ rank, node: 0 })));
  const between = routeRanks(meshes, [0, 1]);
  const inside = [0, 1].map((rank) => new RankTransport(apart.endpoint(rank)));
  for (const [one, other] of [between.transports, inside]) {
    const sizes = [0, 5, 300_000, 1, 2_000_000];
    const sent = sizes.map((size, index) => one.send(1, 3, new Uint8Array(size).fill(index)));
    for (const [index, size] of sizes.entries()) {
      const got = await within(10_000, other.receive(0, 3));
      assert.equal(Buffer.compare(got, new Uint8Array(size).fill(index)), 0, `message ${index}`);
    }
    await within(10_000, Promise.all(sent));
  }
  close(...between.transports, ...inside, ...between.routers, apart, ...meshes);
});

test("links and ranks count what they carried", async () => {
  const meshes = await formCluster(2);
  const { routers, transports } = routeRanks(meshes, [0, 0, 1]);
  await transports[0].send(1, 0, new Uint8Array(5));
  await transports[0].send(2, 0, new Uint8Array(200_000));
  await transports[1].send(2, 0, new Uint8Array(7));
  await Promise.all([0, 1].map((from) => transports[2].receive(from, 0)));
  assert.deepEqual(
    transports[0].counters(),
    new Map([
      [1, { messages: 1, bytes: 5 }],
      [2, { messages: 1, bytes: 200_000 }],
    ]),
  );
  const crossed = { messages: 2, bytes: 200_007 };
  assert.deepEqual(meshes[0].counters().get(1)?.sent, crossed);
  assert.deepEqual(meshes[1].counters().get(0)?.received, crossed);
  close(...transports, ...routers, ...meshes);
});

test("a sender waits while a link has more than it can carry, and loses nothing", async () => {
  const meshes = await formCluster(2);
  const { routers, transports } = routeRanks(meshes, [0, 1]);
  const large = new Uint8Array(32_000_000);
  let sent = false;
  const sending = transports[0].send(1, 0, large).then(() => (sent = true));
  await nextTurn();
  assert.equal(sent, false);
  await transports[0].send(0, 9, large);
  assert.equal((await transports[1].receive(0, 0)).length, large.length);
  await sending;
  close(...transports, ...routers, ...meshes);
});

test("what comes before a node has started its ranks is kept for them", async () => {
  const meshes = await formCluster(2);
  const places = [0, 1].map((node) => ({ rank: node, node }));
  const early = new RankRouter({ mesh: meshes[0] });
  early.add(places);
  const sender = new RankTransport(early.endpoint(0));
  await sender.send(1, 4, Uint8Array.of(1, 2));
  while (meshes[1].counters().get(0)?.received.messages !== 1) await nextTurn();
  const late = new RankRouter({ mesh: meshes[1] });
  late.add(places);
  const receiver = new RankTransport(late.endpoint(1));
  assert.deepEqual(await receiver.receive(0, 4), Uint8Array.of(1, 2));
  close(sender, receiver, early, late, ...meshes);
});

test("nodes tell each other, ask and answer; a failure to answer is passed on", async () => {
  const told: unknown[] = [];
  const meshes = await formCluster(3, {
    told: (body, from, mesh) => told.push([mesh.node, from, body]),
    asked: async (body, from, mesh) => {
      if (body === "fail") throw new Error("no such model");
      return { body, from, answered: mesh.node };
    },
  });
  meshes[1].tell(2, { event: "started" });
  const answer = await meshes[1].ask(2, [1, 2]);
  assert.deepEqual(answer, { body: [1, 2], from: 1, answered: 2 });
  // Longer than a frame.
  const long = Uint8Array.from({ length: 3_000_000 }, (_, i) => i % 251);
  const { body } = (await meshes[2].ask(1, long)) as { body: Uint8Array };
  assert.ok(Buffer.from(long).equals(body));
  assert.deepEqual(told, [[2, 1, { event: "started" }]]);
  const failure = { name: "ControlError", message: "no such model" };
  await assert.rejects(meshes[0].ask(1, "fail"), failure);
  assert.throws(() => meshes[0].tell(1, new Uint8Array(65 * 2 ** 20)), RangeError);
  await assert.rejects(meshes[0].ask(7, null), /node 7 is lost: there is no link/);
  close(...meshes);
  const [coordinator, silent] = await formCluster(2);
  await assert.rejects(coordinator.ask(1, null), /node 1 answers no questions/);
  close(coordinator, silent);
});

test("an event that is not understood cuts the link and says why", async () => {
  const { promise, lost } = firstLoss();
  const meshes = await formCluster(2, {
    told: () => {
      throw new Error("kind: expected start, got 7");
    },
    lost: (node, reason, mesh) => mesh.node === 1 && lost(node, reason),
  });
  meshes[0].tell(1, { kind: 7 });
  assert.deepEqual(await promise, {
    node: 0,
    reason: "it told what was not understood: kind: expected start, got 7",
  });
  close(...meshes);
});

test("a node that leaves fails what waits for it and its ranks, and nothing else", async () => {
  const { promise, lost } = firstLoss();
  const meshes = await formCluster(3, {
    asked: async () => new Promise<never>(() => undefined),
    lost: (node, reason, mesh) => mesh.node === 0 && lost(node, reason),
  });
  const { routers, transports } = routeRanks(meshes, [0, 1, 2]);
  const refusals = [
    assert.rejects(transports[0].receive(2, 0), PeerLostError),
    assert.rejects(transports[1].receive(2, 0), { rank: 2, message: /node 2: .* closed/ }),
    assert.rejects(meshes[0].ask(2, null), ControlError),
  ];
  close(transports[2], routers[2], meshes[2]);
  await within(2000, Promise.all(refusals));
  assert.equal((await promise).node, 2);
  await assert.rejects(transports[0].send(2, 0, new Uint8Array(1)), PeerLostError);
  await transports[0].send(1, 0, Uint8Array.of(3));
  assert.deepEqual(await transports[1].receive(0, 0), Uint8Array.of(3));
  close(...transports, ...routers, ...meshes);
});

test("nodes join a cluster that has formed, and one that comes back is another", async () => {
  const joined: number[] = [];
  const gone = new Set<number>();
  const opened = await openCluster(
    openOptions(2, {
      handlers: { joined: (node) => joined.push(node), lost: (node) => gone.add(node) },
    }),
  );
  const join = () => joinCluster(joinOptions(opened.address.port));
  const first = await join();
  const coordinator = await opened.formed;
  const [second, third] = await Promise.all([join(), join()]);
  await first.close();
  const again = await join();
  const others = (mesh: NodeMesh) => [...mesh.connected].sort((a, b) => a - b);
  await within(
    2000,
    waitFor(() => joined.length === 4 && gone.has(1)),
  );
  assert.deepEqual(
    [...joined].sort((a, b) => a - b),
    [1, 2, 3, 4],
  );
  assert.equal(again.node, 4);
  assert.deepEqual(others(again), [0, 2, 3]);
  await within(
    2000,
    waitFor(() => others(second).join() === "0,3,4"),
  );
  await assert.rejects(async () => coordinator.ask(1, null), /node 1 is lost/);
  close(coordinator, second, third, again);
  const late = join();
  await assert.rejects(late, /ECONNREFUSED|was closed|was lost/);
});

async function waitFor(holds: () => boolean): Promise<void> {
  while (!holds()) await nextTurn();
}

test("a rank that ends is lost to the ranks of all nodes", async () => {
  const meshes = await formCluster(2);
  const { routers, transports } = routeRanks(meshes, [0, 0, 1]);
  const refusals = [0, 2].map((rank) =>
    assert.rejects(transports[rank].receive(1, 0), {
      name: "PeerLostError",
      message: "rank 1 is lost: its thread has ended",
    }),
  );
  transports[1].close();
  await within(2000, Promise.all(refusals));
  close(...transports, ...routers, ...meshes);
});

for (const [from, to] of [
  [1, 1],
  [0, 0],
] as const) {
  test(`a message from rank ${from} to ${to} does not come over the link from 0 to 1`, async () => {
    const { promise, lost } = firstLoss();
    const meshes = await formCluster(2, {
      lost: (node, reason, mesh) => mesh.node === 1 && lost(node, reason),
    });
    const { routers, transports } = routeRanks(meshes, [0, 1]);
    await meshes[0].send(1, { from, to, channel: 0, message: new Uint8Array(1) });
    assert.match((await promise).reason, /from rank \d to \d has no business on this link/);
    close(...transports, ...routers, ...meshes);
  });
}

test("losses that are held for ranks not yet started are bounded", async () => {
  let lost!: (reason: string) => void;
  const isLost = new Promise<string>((resolve) => (lost = resolve));
  const meshes = await formCluster(2, {
    lost: (_, reason, mesh) => mesh.node === 1 && lost(reason),
  });
  // Too many by what each takes besides its reason.
  const reason = "x".repeat(4096);
  for (let rank = 0; rank < 7750; rank++) {
    meshes[0].tellMembership(1, { kind: "rankLost", rank, reason });
  }
  assert.equal(await within(30_000, isLost), "over 67108864 bytes came for ranks not yet started");
  close(...meshes);
});

interface Loss {
  readonly node: number;
  readonly reason: string;
}

function firstLoss(): { promise: Promise<Loss>; lost: (node: number, reason: string) => void } {
  let resolve!: (loss: Loss) => void;
  const promise = new Promise<Loss>((fulfil) => (resolve = fulfil));
  return { promise: within(3000, promise), lost: (node, reason) => resolve({ node, reason }) };
}

test("nodes know their numbers, and each is linked to every other", async () => {
  const meshes = await formCluster(4);
  const others = (mesh: NodeMesh) => [...mesh.connected].sort((a, b) => a - b);
  assert.deepEqual(meshes.map(others), [
    [1, 2, 3],
    [0, 2, 3],
    [0, 1, 3],
    [0, 1, 2],
  ]);
  close(...meshes);
});
