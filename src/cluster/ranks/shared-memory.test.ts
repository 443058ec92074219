import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import {
  createSharedSegments,
  PeerLostError,
  SharedMemoryTransport,
  TransportClosedError,
} from "../index.ts";
import type { Exchange } from "./rank-thread-fixtures.ts";

class RankThread {
  readonly #worker: Worker;

  constructor(rank: number) {
    this.#worker = new Worker(new URL("./rank-thread-fixtures.js", import.meta.url), {
      workerData: { rank },
    });
  }

  async run(exchange: Exchange): Promise<string[]> {
    const answer = once(this.#worker, "message");
    this.#worker.postMessage(exchange);
    const [wrong] = await answer;
    return wrong as string[];
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}

const size = fc.oneof(fc.nat(70), fc.nat(5000), fc.constantFrom(0, 7, 8, 56, 64, 65, 30_000));

function exchangeOf(ranks: number): fc.Arbitrary<Exchange> {
  const rank = fc.nat(ranks - 1);
  const message = fc.record({
    from: rank,
    to: rank,
    channel: fc.constantFrom(0, 1, 2 ** 32 - 1),
    size,
  });
  return fc
    .tuple(fc.array(message, { maxLength: 60 }), fc.constantFrom(64, 256, 4096))
    .map(([messages, ringCapacity]) => ({
      messages,
      segments: createSharedSegments([...Array(ranks).keys()], { ringCapacity }),
    }));
}

test("messages between threads arrive whole and in order, whatever their sizes", async () => {
  const threads = [0, 1, 2, 3].map((rank) => new RankThread(rank));
  const property = fc.asyncProperty(exchangeOf(threads.length), async (exchange) => {
    const wrong = await Promise.all(threads.map((thread) => thread.run(exchange)));
    assert.deepEqual(wrong, [[], [], [], []]);
  });
  await fc.assert(property, { numRuns: 60 });
  await Promise.all(threads.map((thread) => thread.close()));
});

test("32 threads exchange messages all to all in 64 MiB of rings", async () => {
  const ranks = [...Array(32).keys()];
  const segments = createSharedSegments(ranks);
  assert.ok(segments.memory.byteLength < 2 ** 26 + 2 ** 20);
  const messages = ranks.flatMap((from) =>
    ranks.map((to) => ({ from, to, channel: 5, size: from * 100 + to })),
  );
  const threads = ranks.map((rank) => new RankThread(rank));
  const wrong = await Promise.all(threads.map((thread) => thread.run({ segments, messages })));
  assert.deepEqual(wrong.flat(), []);
  await Promise.all(threads.map((thread) => thread.close()));
});

test("a message nobody reads does not hold up another channel", async () => {
  const [a, b] = createPair(64);
  const ignored = a.send(1, 0, new Uint8Array(1000));
  await a.send(1, 1, Uint8Array.of(7));
  assert.deepEqual(await b.receive(0, 1), Uint8Array.of(7));
  await ignored;
  close(a, b);
});

test("a message may be reused once sent, and belongs to whoever received it", async () => {
  const [a, b] = createPair();
  const message = Uint8Array.of(1);
  for (const to of [0, 1]) {
    await a.send(to, 0, message);
    message[0]++;
  }
  assert.deepEqual(await a.receive(0, 0), Uint8Array.of(1));
  assert.deepEqual(await b.receive(0, 0), Uint8Array.of(2));
  close(a, b);
});

test("arrival tells of a message on its channel without taking it", async () => {
  const [a, b] = createPair();
  const never = new AbortController();
  const arrival = b.arrival(3, never.signal);
  await a.send(1, 4, Uint8Array.of(4));
  assert.equal(await Promise.race([arrival, delay(20, "nothing")]), "nothing");
  await a.send(1, 3, Uint8Array.of(3));
  await arrival;
  await b.arrival(3, never.signal);
  assert.deepEqual(await b.receive(0, 3), Uint8Array.of(3));
  const aborted = b.arrival(3, never.signal);
  never.abort();
  await aborted;
  close(a, b);
});

test("a lost rank fails what is and will be under way, and nothing else", async () => {
  const [a, b] = createPair(64);
  const pending = [a.send(1, 0, new Uint8Array(5000)), a.receive(1, 0)];
  const refusals = pending.map((operation) => assert.rejects(operation, PeerLostError));
  a.lose(new PeerLostError(1, "its thread has ended"));
  await Promise.all(refusals);
  const error = {
    name: "PeerLostError",
    message: "rank 1 is lost: its thread has ended",
    rank: 1,
  };
  await assert.rejects(a.send(1, 0, new Uint8Array(1)), error);
  await assert.rejects(a.receive(1, 9), error);
  await a.send(0, 0, Uint8Array.of(5));
  assert.deepEqual(await a.receive(0, 0), Uint8Array.of(5));
  close(a, b);
});

test("closing ends every wait", async () => {
  const [a, b] = createPair(64);
  const arrival = a.arrival(0, new AbortController().signal);
  const sent = assert.rejects(a.send(1, 0, new Uint8Array(5000)), TransportClosedError);
  const received = assert.rejects(a.receive(1, 0), TransportClosedError);
  a.close();
  await Promise.all([arrival, sent, received]);
  b.close();
});

test("what was sent is counted by destination", async () => {
  const [a, b] = createPair();
  await a.send(1, 0, new Uint8Array(100));
  await a.send(1, 1, new Uint8Array(0));
  assert.deepEqual([...a.counters()], [[1, { messages: 2, bytes: 100 }]]);
  close(a, b);
});

test("a waiting thread ends when terminated, and when nothing else keeps it", async () => {
  const waits = `
    const { workerData } = require("node:worker_threads");
    import(workerData.url).then(({ SharedMemoryTransport }) => {
      const transport = new SharedMemoryTransport(workerData.segments, 0);
      void transport.receive(1, 0);
      if (workerData.held) require("node:worker_threads").parentPort.on("message", () => {});
      require("node:worker_threads").parentPort.postMessage("waiting");
    });`;
  const url = new URL("./shared-memory.js", import.meta.url).href;
  for (const held of [true, false]) {
    const segments = createSharedSegments([0, 1]);
    const worker = new Worker(waits, { eval: true, workerData: { url, segments, held } });
    const exit = once(worker, "exit");
    await once(worker, "message");
    if (held) await worker.terminate();
    await exit;
  }
});

test("channels and ranks that do not exist are refused", async () => {
  const [a, b] = createPair();
  await assert.rejects(a.send(1, -1, new Uint8Array(0)), /channel: expected .* got -1/);
  await assert.rejects(a.receive(2, 0), /rank 2 is not in this process/);
  assert.throws(() => createSharedSegments([0, 1], { ringCapacity: 100 }), /power of two/);
  close(a, b);
});

/** Two ranks in this thread. */
function createPair(ringCapacity = 4096): [SharedMemoryTransport, SharedMemoryTransport] {
  const segments = createSharedSegments([0, 1], { ringCapacity });
  return [new SharedMemoryTransport(segments, 0), new SharedMemoryTransport(segments, 1)];
}

const close = (...transports: SharedMemoryTransport[]) => {
  for (const transport of transports) transport.close();
};
