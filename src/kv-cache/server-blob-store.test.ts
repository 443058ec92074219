import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
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

/** An S3 server that begins to tell blobs and never ends; `written`: when it says they were. */
async function openStalling(t: TestContext, written: Date, silenceMs?: number) {
  process.env["AWS_ACCESS_KEY_ID"] ??= "any";
  process.env["AWS_SECRET_ACCESS_KEY"] ??= "any";
  const key = `daysix block key ${"0".repeat(64)}\n`;
  let closed: () => void;
  const isClosed = new Promise<void>((resolve) => (closed = resolve));
  const server = createServer((asked, answer) => {
    if (asked.url?.includes("/key") === true) return void answer.end(key);
    answer.on("close", closed);
    answer.writeHead(200, { "last-modified": written.toUTCString(), "content-length": 1000 });
    answer.write("abc");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const url = new URL(`s3://blocks/kv?endpoint=http://127.0.0.1:${port}`);
  const store = await S3BlobStore.open(url, limits, silenceMs);
  t.after(() => store.close());
  return { store, isClosed };
}

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
