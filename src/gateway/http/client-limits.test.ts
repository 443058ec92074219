import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { Readable } from "node:stream";
import { afterEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { Accounts } from "../billing/accounts.ts";
import { defaultPrices } from "../billing/deepseek-prices.ts";
import { openFakeLedger } from "../billing/ledger-fixtures.ts";
import { clientLimits, type ClientLimits } from "./client-limits.ts";
import { startTinyServer, type TinyServer } from "./fixtures.ts";

const CHAT = "/v1/chat/completions";
const chat = { model: "calf", messages: [{ role: "user", content: "hi" }], temperature: 1 };

const open: Socket[] = [];
let server: TinyServer;
const lines: string[] = [];

async function start(limits: Partial<ClientLimits>, accounts?: Accounts): Promise<void> {
  lines.length = 0;
  const log = pino({ level: "warn" }, { write: (line) => void lines.push(line) });
  const bounds = { ...clientLimits, ...limits };
  server = await startTinyServer({ limits: bounds, log, ...(accounts && { accounts }) });
}

afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy();
  await server.close();
});

/** A connection with so much of a request on it. */
function send(...parts: readonly (string | Uint8Array)[]): Socket {
  const socket = connect(server.running.address.port, "127.0.0.1");
  open.push(socket);
  socket.on("error", () => undefined);
  for (const part of parts) socket.write(part);
  return socket;
}

const head = (length: number) =>
  `POST ${CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n` +
  `content-length: ${length}\r\n\r\n`;

async function refusals(reason: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const [, count] =
    new RegExp(`daysix_refusals_total\\{reason="${reason}"\\} (\\d+)`).exec(text) ?? [];
  return Number(count ?? 0);
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(10);
}

test("clients that keep back the end of large bodies are refused, and others are answered", async () => {
  await start({ allBodiesBytes: 2 ** 20, bodyMs: 60_000 });
  const body = new Uint8Array(300 * 2 ** 10).fill(0x20);
  const answers = Array.from({ length: 12 }, async () => {
    const socket = send(head(body.length + 1), body);
    const [answer] = (await Promise.race([once(socket, "data"), once(socket, "close")])) as [
      unknown,
    ];
    return String(answer);
  });
  await until(async () => (await refusals("bodies_full")) >= 9);
  const first = await Promise.race(answers);
  assert.match(first, /^HTTP\/1\.1 503 [^]*connection: close[^]*"code":"bodies_full"/i);
  assert.equal((await server.fetch(CHAT, { ...chat, max_tokens: 1 })).status, 200);
  const told = lines.filter((line) => line.includes("bodies_full"));
  assert.equal(told.length, 1, "a burst is told once");
});

test("a body that is late is answered with 408", async () => {
  await start({ bodyMs: 50 });
  const socket = send(head(10), "{");
  const [answer] = (await once(socket, "data")) as [Buffer];
  assert.match(String(answer), /^HTTP\/1\.1 408 [^]*"code":"body_late"/);
  assert.equal(await refusals("body_late"), 1);
});

test("connections are bounded, and one that ends makes room", async () => {
  await start({ connections: 3 });
  const idle = [send(), send(), send()];
  await Promise.all(idle.map((socket) => once(socket, "connect")));
  const fourth = send();
  await once(fourth, "close");
  for (const socket of idle) socket.destroy();
  await until(async () => (await refusals("connections_full").catch(() => 0)) >= 1);
  assert.match(lines.join(""), /connections_full/);
});

for (const limits of [{ unreadEvents: 20 }, { unreadMs: 50 }]) {
  test(`a client that does not read is cut and pays for what it was told: ${JSON.stringify(limits)}`, async () => {
    const { ledger, file } = await openFakeLedger();
    await start(limits, new Accounts({ ledger, prices: defaultPrices }));
    const body = JSON.stringify({ ...chat, n: 8, max_tokens: 500, seed: 1, stream: true });
    const response = await server.app.request(
      CHAT,
      { method: "POST", headers: { "content-type": "application/json" } },
      { incoming: Readable.from([Buffer.from(body)]) },
    );
    await response.body?.getReader().read();
    await server.untilIdle();
    assert.equal(await refusals("unread"), 1);
    assert.match(lines.join(""), /"reason":"unread"/);
    const [{ outcome, billing, tokens }] = file.lines;
    assert.deepEqual([outcome, billing.kind], ["left", "billed"]);
    // One of each choice, and what makes no text of its own.
    assert.ok(tokens.output < 40, `${tokens.output} tokens were billed for one chunk`);
  });
}

test("an answer that may come to more log-probabilities than are held at once has to be streamed", async () => {
  await start({ logprobs: 40 });
  const top = { ...chat, n: 2, logprobs: true, top_logprobs: 4, temperature: 0 };
  const raw = { model: "calf", prompt: ["a", "b"], logprobs: 4 };
  const refused: [path: string, body: object, param: string][] = [
    [CHAT, { ...top, max_tokens: 5 }, "top_logprobs"],
    [CHAT, { ...top, top_logprobs: 0, max_tokens: 21 }, "logprobs"],
    ["/v1/completions", { ...raw, max_tokens: 5 }, "logprobs"],
  ];
  const told: [path: string, body: object][] = [
    [CHAT, { ...top, max_tokens: 4 }],
    [CHAT, { ...top, max_tokens: 5, stream: true }],
    [CHAT, { ...chat, max_tokens: 41 }],
    ["/v1/completions", { ...raw, max_tokens: 4 }],
    ["/v1/completions", { ...raw, max_tokens: 5, stream: true }],
  ];
  for (const [path, body, param] of refused) {
    const response = await server.fetch(path, body);
    const { error } = (await response.json()) as { error: { param: string; message: string } };
    assert.deepEqual([response.status, error.param], [400, param]);
    assert.match(error.message, /^(top_)?logprobs: expected at most 40 .*; stream it, or lower/);
  }
  for (const [path, body] of told) {
    const response = await server.fetch(path, body);
    assert.equal(response.status, 200, JSON.stringify(body));
    await response.text();
  }
});

test("an answer of any length ends where no more log-probabilities can be held", async () => {
  await start({ logprobs: 40 });
  const body = { ...chat, logprobs: true, top_logprobs: 4, temperature: 0, ignore_eos: true };
  const response = await server.fetch(CHAT, body);
  const { choices, usage } = (await response.json()) as {
    choices: { finish_reason: string }[];
    usage: { completion_tokens: number };
  };
  assert.deepEqual([choices[0].finish_reason, usage.completion_tokens], ["length", 8]);
});
