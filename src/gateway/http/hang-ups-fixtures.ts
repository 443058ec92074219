/** Clients that hang up, in a thread of their own: what they do holds up no server that is tested. */
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";

/** When a client hangs up: on so much of the answer, or after so long, whatever has come. */
type Leaving = { readonly bytes: number } | { readonly milliseconds: number };

/** Sends a request on a socket of its own and drops the connection. */
async function hangUp(port: number, body: object, leaving: Leaving): Promise<void> {
  const json = JSON.stringify(body);
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

const { port, count } = workerData as { readonly port: number; readonly count: number };
const clients = Array.from({ length: count }, (_, client) => {
  const content = `client ${client}`;
  const body = { model: "calf", messages: [{ role: "user", content }], temperature: 1 };
  // Streaming or not, one choice or two, in the queue or in mid-answer.
  const request = { ...body, seed: client, stream: client % 4 !== 0, n: 1 + (client % 2) };
  const milliseconds = (client * 37) % 3000;
  return hangUp(port, request, client % 4 === 1 ? { bytes: 300 + client } : { milliseconds });
});
parentPort?.postMessage("all have asked");
await Promise.all(clients);
parentPort?.close();
