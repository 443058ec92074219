import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import type { Writable } from "node:stream";
import { test, type TestContext } from "node:test";
import { DeleteObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { freePort } from "../cluster/fixtures.ts";
import { FilePermits } from "./file-permits.ts";
import { openBlobStore, storeUrl } from "./open-blob-store.ts";
import { S3BlobStore } from "./s3-blob-store.ts";
import { storeServers, type StoreServerKind } from "./server-fixtures.ts";

const nameOf = (text: string) => createHash("sha256").update(text).digest("hex");
const limits = { maxBytes: Infinity, maxAgeMs: 3_600_000 };
const open = (place: string, maxAgeMs = limits.maxAgeMs) =>
  openBlobStore(place, { ...limits, maxAgeMs }, new FilePermits());

async function started(t: TestContext, { start }: StoreServerKind) {
  const server = await start();
  t.after(() => server.remove());
  const opened = async (maxAgeMs?: number) => {
    const store = await open(server.place, maxAgeMs);
    t.after(() => store.close?.());
    return store;
  };
  return { server, opened };
}

const content = (size: number, seed: number) =>
  Buffer.from(Uint8Array.from({ length: size }, (_, i) => Math.imul(i + seed, 2654435761) >>> 24));

async function deleteKeyObject(place: string): Promise<void> {
  const endpoint = new URL(place).searchParams.get("endpoint") as string;
  const client = new S3Client({ region: "us-east-1", endpoint, forcePathStyle: true });
  await client.send(new DeleteObjectCommand({ Bucket: "blocks", Key: "kv/key" }));
  client.destroy();
}

for (const kind of storeServers) {
  const { name, skip } = kind;

  test(`${name}: what one server keeps another finds, under the same key`, { skip }, async (t) => {
    const { opened } = await started(t, kind);
    const [one, other] = await Promise.all([opened(), opened()]);
    assert.deepEqual(one.key, other.key);
    const now = Date.now();
    const blobs = [70_000, 1, 300_000].map((size, i) => ({ name: nameOf(`${i}`), size, seed: i }));
    for (const each of blobs) assert.equal(await one.get(each.name, each.size, now), "absent");
    await Promise.all(blobs.map((each) => one.put(each.name, content(each.size, each.seed), now)));
    const read = await Promise.all(blobs.map((each) => other.get(each.name, each.size, now)));
    for (const [i, { size, seed }] of blobs.entries()) {
      assert.deepEqual(Buffer.from(read[i] as Uint8Array), content(size, seed));
    }
    const [{ name: first, size }] = blobs;
    for (const wrong of [size - 1, size + 1]) {
      assert.equal(await other.get(first, wrong, now), "wrong size");
      assert.equal(await other.touch(first, wrong, now), false);
    }
    assert.equal(await other.touch(first, size, now), true);
    await one.put(first, content(10, 9), now);
    assert.deepEqual(Buffer.from((await other.get(first, 10, now)) as Uint8Array), content(10, 9));
    await other.delete(first);
    await other.delete(first);
    assert.equal(await one.get(first, 10, now), "absent");
    assert.equal(await one.touch(first, 10, now), false);
  });

  test(
    `${name}: a key that the server has removed is put back with the next block`,
    { skip },
    async (t) => {
      const { server, opened } = await started(t, kind);
      const one = await opened();
      if (name === "valkey") await one.delete("key");
      else await deleteKeyObject(server.place);
      await one.put(nameOf("a"), content(10, 1), Date.now());
      assert.deepEqual((await opened()).key, one.key);
    },
  );

  test(`${name}: what was not used for the age is gone`, { skip }, async (t) => {
    const { opened } = await started(t, kind);
    const store = await opened(2000);
    const now = Date.now();
    await store.put(nameOf("a"), content(10, 1), now);
    assert.equal(await store.touch(nameOf("a"), 10, now), true);
    const later = now + 60_000;
    // Of a server that counts itself, the blob was last used long ago.
    if (name === "valkey") await store.touch(nameOf("a"), 10, now - 60_000);
    assert.equal(await store.get(nameOf("a"), 10, later), "absent");
    assert.equal(await store.touch(nameOf("a"), 10, later), false);
  });

  test(
    `${name}: while the server is gone all fails, and works when it is back`,
    { skip },
    async (t) => {
      const { server, opened } = await started(t, kind);
      const store = await opened();
      await store.put(nameOf("a"), content(10, 1), Date.now());
      await server.kill();
      await assert.rejects(store.get(nameOf("a"), 10, Date.now()));
      await assert.rejects(store.put(nameOf("b"), content(10, 1), Date.now()));
      await server.restart();
      for (;;) {
        const found = await store.get(nameOf("a"), 10, Date.now()).catch(() => undefined);
        if (found === undefined) continue;
        assert.deepEqual(Buffer.from(found as Uint8Array), content(10, 1));
        return;
      }
    },
  );
}

test("a place is a folder or a server's URL, and nothing else", () => {
  assert.equal(storeUrl("/kv"), undefined);
  assert.equal(storeUrl("./s3:kv"), undefined);
  assert.equal(storeUrl("C:/kv"), undefined);
  assert.equal(storeUrl("valkey://a:1/2")?.host, "a:1");
  assert.throws(() => storeUrl("http://a"), /expected a folder, valkey:.*s3:.*, got http:/);
});

test("a server is reached at an IPv6 address", async () => {
  const port = await freePort();
  await assert.rejects(open(`valkey://[::1]:${port}/0`), ({ message }: Error) => {
    return message.startsWith(`cache valkey://[::1]:${port}/0: connect E`);
  });
});

/** Opens the store of an S3 server that answers as it likes. */
async function openFake(t: TestContext, answers: RequestListener, silenceMs?: number) {
  process.env["AWS_ACCESS_KEY_ID"] ??= "any";
  process.env["AWS_SECRET_ACCESS_KEY"] ??= "any";
  const server = createServer(answers).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const url = new URL(`s3://blocks/kv?endpoint=http://127.0.0.1:${port}`);
  const store = await S3BlobStore.open(url, limits, silenceMs);
  t.after(() => store.close());
  return store;
}

const keyText = `daysix block key ${"0".repeat(64)}\n`;
const asksForKey = ({ url }: IncomingMessage) => url?.includes("/key") === true;

/** An S3 server that begins to tell blobs and never ends; `written`: when it says they were. */
async function openStalling(t: TestContext, written: Date, silenceMs?: number) {
  let closed: () => void;
  const isClosed = new Promise<void>((resolve) => (closed = resolve));
  const answers: RequestListener = (asked, answer) => {
    if (asksForKey(asked)) return void answer.end(keyText);
    answer.on("close", closed);
    answer.writeHead(200, { "last-modified": written.toUTCString(), "content-length": 1000 });
    answer.write("abc");
  };
  return { store: await openFake(t, answers, silenceMs), isClosed };
}

const FLOOD_BYTES = 256 * 2 ** 20;
/** More than sockets hold between those who write and those who read, on one machine. */
const HELD_BYTES = FLOOD_BYTES / 4;

/** Writes a flood to who listens for so long; how much of it they took. */
async function flood(answer: Writable): Promise<number> {
  const wave = Buffer.alloc(2 ** 20, "0");
  let sent = 0;
  const isClosed = once(answer, "close");
  while (sent < FLOOD_BYTES && !answer.destroyed) {
    sent += wave.length;
    if (!answer.write(wave)) await Promise.race([once(answer, "drain"), isClosed]);
  }
  answer.end();
  return sent;
}

test("s3: a server that answers more than was asked for is not listened to", async (t) => {
  const floods: Promise<number>[] = [];
  let statusCode = 200;
  const store = await openFake(t, (asked, answer) => {
    if (asksForKey(asked)) return void answer.end(keyText);
    answer.writeHead(statusCode, { "content-type": "application/xml" });
    floods.push(flood(answer));
  });
  for (statusCode of [200, 404, 500]) {
    await assert.rejects(store.get(nameOf("a"), 1000, Date.now()));
    await assert.rejects(store.put(nameOf("a"), content(10, 1), Date.now()));
    await assert.rejects(store.delete(nameOf("a")));
  }
  const sent = await Promise.all(floods);
  assert.equal(sent.length, 9);
  assert.ok(Math.max(...sent) < HELD_BYTES, `${sent.join(", ")} bytes`);
});

test("s3: of a key that has no end little is read", async (t) => {
  let flooded: Promise<number> | undefined;
  const opening = openFake(t, (_, answer) => {
    answer.writeHead(200);
    flooded = flood(answer);
  });
  await assert.rejects(opening, /it answered more than the 256 bytes that were asked for$/);
  assert.ok(((await flooded) ?? Infinity) < HELD_BYTES);
});

test("valkey: of a key that has no end little is asked for", async (t) => {
  const asked: string[] = [];
  const server = createTcpServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      // Each is a star and its words' count, then a length and a word by turns.
      for (const command of String(bytes).split("*").slice(1)) {
        const words = command.split("\r\n").filter((_, i) => i > 0 && i % 2 === 0);
        asked.push(words.join(" ").trim());
        socket.write(words[0] === "setnx" ? ":0\r\n" : "$2\r\nno\r\n");
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  await assert.rejects(open(`valkey://127.0.0.1:${port}/0`), /its block key holds something else/);
  assert.equal(asked.at(-1), "getrange daysix:key 0 255");
});

test("s3: an answer that stalls is given up", async (t) => {
  const { store, isClosed } = await openStalling(t, new Date(), 50);
  await assert.rejects(store.get(nameOf("a"), 1000, Date.now()));
  await isClosed;
});

test("s3: of a blob that has expired nothing more is read", async (t) => {
  const { store, isClosed } = await openStalling(t, new Date(0));
  assert.equal(await store.get(nameOf("a"), 1000, Date.now()), "absent");
  await isClosed;
});

test("a server that cannot be reached is named, without its password", async () => {
  const port = await freePort();
  await assert.rejects(open(`valkey://me:secret@127.0.0.1:${port}/0`), ({ message }: Error) => {
    assert.match(message, new RegExp(`^cache valkey://127\\.0\\.0\\.1:${port}/0: .*ECONNREFUSED`));
    return !message.includes("secret");
  });
});
