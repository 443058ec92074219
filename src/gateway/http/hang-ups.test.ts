import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startTinyServer, type TinyServer } from "./fixtures.ts";

const CLIENTS = 200;

let server: TinyServer;
before(async () => (server = await startTinyServer({ queueLimit: 4 * CLIENTS })));
after(() => server.close());

/** When a client hangs up: on so much of the answer, or after so long, whatever has come. */
type Leaving = { readonly bytes: number } | { readonly milliseconds: number };

/** Sends a request on a socket of its own and drops the connection. */
async function hangUp(body: object, leaving: Leaving): Promise<void> {
  const json = JSON.stringify(body);
  const { port } = server.running.address;
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n` +
      `content-length: ${json.length}\r\n\r\n${json}`,
  );
  if ("milliseconds" in leaving) {
    socket.resume();
    await sleep(leaving.milliseconds);
  } else {
    let received = 0;
    for await (const data of socket) {
      received += (data as Buffer).length;
      if (received >= leaving.bytes) break;
    }
  }
  socket.destroy();
}

test(`${CLIENTS} clients that hang up leave nothing behind and block nobody`, async () => {
  // What a first request loads is not to be waited for.
  await (await fetch(`${server.url}/health`)).text();
  const clients = Array.from({ length: CLIENTS }, (_, client) => {
    const content = `client ${client}`;
    const body = { model: "calf", messages: [{ role: "user", content }], temperature: 1 };
    // Streaming or not, one choice or two, in the queue or in mid-answer.
    const request = { ...body, seed: client, stream: client % 4 !== 0, n: 1 + (client % 2) };
    const milliseconds = (client * 37) % 3000;
    return hangUp(request, client % 4 === 1 ? { bytes: 300 + client } : { milliseconds });
  });
  const leaving = new AbortController();
  const left = Promise.all(clients).finally(() => leaving.abort());

  let answered = 0;
  for (; !leaving.signal.aborted; answered++) {
    await (await fetch(`${server.url}/health`)).text();
    await sleep(5);
  }
  await left;
  await server.untilIdle();
  const stats = await server.engine.stats();
  assert.deepEqual([stats.waiting, stats.running, stats.pagesInUse], [0, 0, 0]);
  assert.ok(answered > 1, `${answered} questions of health were answered meanwhile`);
});
