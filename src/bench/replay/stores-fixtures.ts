/** The three stores under load: what `npm run bench:stores` prints. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FilePermits, openBlobStore, type BlobStore } from "../../kv-cache/index.ts";
import { storeServers, type StoreServer } from "../../kv-cache/server-fixtures.ts";
import { readMooncakeTrace } from "../mooncake.ts";
import { replayTrace } from "./context-cache-replay.ts";

const REQUESTS = 150;
const PAUSED_AT = 50;
const KILLED_AT = 100;
const PAUSE_MS = 1000;
/** A block of V2-Lite: 64 tokens × 27 layers × 576 values of two bytes. */
const BLOCK_BYTES = 64 * 27 * 576 * 2;
const BLOCKS = 64;
/** As the context cache has them under way. */
const [WRITES, READS] = [4, 8];
const limits = { maxBytes: 2 ** 34, maxAgeMs: Infinity };

const block = randomBytes(BLOCK_BYTES);
const nameOf = (index: number) => index.toString(16).padStart(64, "0");
const rate = (seconds: number) => `${((BLOCKS * BLOCK_BYTES) / seconds / 1e6).toFixed(0)} MB/s`;

/** Seconds that all blocks take, so many at a time. */
async function timed(atOnce: number, act: (index: number) => Promise<unknown>): Promise<number> {
  const began = performance.now();
  for (let first = 0; first < BLOCKS; first += atOnce) {
    await Promise.all(Array.from({ length: atOnce }, (_, i) => act(first + i)));
  }
  return (performance.now() - began) / 1000;
}

async function tellRoofs(directory: string): Promise<void> {
  const file = (index: number) => join(directory, nameOf(index));
  const written = await timed(WRITES, (index) => writeFile(file(index), block));
  const read = await timed(READS, (index) => readFile(file(index)));
  console.log(`files here: written ${rate(written)}, read ${rate(read)}`);
  const server = createServer((socket) => socket.on("data", () => socket.write(block)));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const socket = connect((server.address() as { port: number }).port, "127.0.0.1");
  const taken = await timed(1, async () => {
    socket.write("next");
    for (let left = BLOCK_BYTES; left > 0;) {
      const [bytes] = (await once(socket, "data")) as [Buffer];
      left -= bytes.length;
    }
  });
  console.log(`loopback: ${rate(taken)}`);
  socket.destroy();
  server.close();
}

async function tellRates(store: BlobStore): Promise<void> {
  const now = Date.now();
  const written = await timed(WRITES, (index) => store.put(nameOf(index), block, now));
  const read = await timed(READS, (index) => store.get(nameOf(index), BLOCK_BYTES, now));
  console.log(`  blocks of ${BLOCK_BYTES} bytes: written ${rate(written)}, read ${rate(read)}`);
}

async function tellReplay(folder: string, store: BlobStore, server?: StoreServer): Promise<void> {
  const trace = await readMooncakeTrace(join(folder, "conversation_trace_0-29min.jsonl"));
  const waits: number[] = [];
  let began = performance.now();
  const between = async (index: number) => {
    if (index > 0) waits.push(performance.now() - began);
    if (index === PAUSED_AT && server) {
      server.pause();
      setTimeout(server.resume, PAUSE_MS);
    }
    if (index === KILLED_AT) await server?.kill();
    began = performance.now();
  };
  const { hits, blocks, stats } = await replayTrace(trace.slice(0, REQUESTS), store, between);
  const longest = (from: number, to: number) => Math.max(...waits.slice(from, to)).toFixed(0);
  console.log(
    `  Mooncake, ${REQUESTS} conversations: ${((100 * hits) / blocks).toFixed(2)} % of blocks hit; ` +
      `a request took ${longest(0, PAUSED_AT)} ms at most` +
      (server
        ? `, ${longest(PAUSED_AT, KILLED_AT)} ms with a server still for ${PAUSE_MS} ms, ` +
          `${longest(KILLED_AT, REQUESTS)} ms with it killed`
        : ""),
  );
  const { late, failed, dropped, computed, bypassed } = stats;
  console.log(`  ${JSON.stringify({ late, failed, dropped, computed, bypassed })}`);
}

/** `folder`: of Mooncake's traces. */
export async function tellStores(folder: string): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "daysix-stores-"));
  try {
    await tellRoofs(directory);
    console.log("directory");
    const files = await openBlobStore(join(directory, "blocks"), limits, new FilePermits());
    await tellRates(files);
    await tellReplay(folder, files);
  } finally {
    await rm(directory, { recursive: true });
  }
  for (const { name, skip, start } of storeServers) {
    console.log(skip === false ? name : `${name}: left out, ${skip}`);
    if (skip !== false) continue;
    const server = await start();
    const store = await openBlobStore(server.place, limits, new FilePermits());
    try {
      await tellRates(store);
      await tellReplay(folder, store, server);
    } finally {
      store.close?.();
      await server.remove();
    }
  }
}
