import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { startTinyServer, type TinyServer } from "./fixtures.ts";

const CLIENTS = 200;

let server: TinyServer;
before(async () => (server = await startTinyServer({ queueLimit: 4 * CLIENTS })));
after(() => server.close());

test(`${CLIENTS} clients that hang up leave nothing behind and block nobody`, async () => {
  // What a first request loads is not to be waited for.
  await (await fetch(`${server.url}/health`)).text();
  const leaving = new AbortController();
  const clients = new Worker(new URL("./hang-ups-fixtures.js", import.meta.url), {
    workerData: { port: server.running.address.port, count: CLIENTS },
  });
  const left = once(clients, "exit").finally(() => leaving.abort());
  await once(clients, "message");

  let answered = 0;
  for (; !leaving.signal.aborted; answered++) {
    await (await fetch(`${server.url}/health`)).text();
    await sleep(5);
  }
  const [status] = (await left) as [number];
  assert.equal(status, 0);
  await server.untilIdle();
  const stats = await server.engine.stats();
  assert.deepEqual([stats.waiting, stats.running, stats.pagesInUse], [0, 0, 0]);
  assert.ok(answered > 10, `${answered} questions of health were answered meanwhile`);
});
