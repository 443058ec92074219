#!/usr/bin/env node
/**
 * What `npm run bench:gateway` asks, each in a process of its own: `gateway`, before an engine that has
 * its tokens at once, and `bare`, a Node HTTP server that reads the same requests as JSON and writes as
 * many events. The process tells its port, and what it has spent whenever it is asked.
 */
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import type { GenerationRequest, TimedEvent } from "../../engine/index.ts";
import { Gateway, serveGateway, TextWorker } from "../../gateway/index.ts";

/** Bytes of resident memory, and processor time of this process alone. */
export interface Spent {
  readonly rss: number;
  readonly cpuMs: number;
}

const calf = fileURLToPath(new URL("../../../models/calf", import.meta.url));
const TOKEN = 100;

async function* instantly({ maxTokens }: GenerationRequest): AsyncGenerator<TimedEvent> {
  const time = performance.now();
  yield { kind: "started", hitTokens: 0, time };
  for (let i = 0; i < maxTokens; i++) {
    yield { kind: "token", token: TOKEN, top: [], proposed: false, refuted: 0, time };
  }
  yield { kind: "finished", reason: "length", time };
}

async function startGateway(): Promise<number> {
  const text = await TextWorker.start(calf);
  const engine = {
    ...{ maxModelLen: 4096, vocabSize: text.vocabulary.vocabSize, eosTokens: [1] },
    generate: instantly,
    stats: () => Promise.reject(new Error("no statistics")),
  };
  const gateway = new Gateway({
    models: [{ engine, text, names: ["calf"] }],
    queueLimit: 4096,
  });
  const { address } = await serveGateway(gateway, { host: "127.0.0.1", port: 0 });
  return address.port;
}

/** A chunk as the gateway has it, but for what it knows. */
const chunk = `data: ${JSON.stringify({
  ...{ id: "chatcmpl-000000000000000000000000", created: 1e9, model: "calf" },
  ...{ object: "chat.completion.chunk" },
  choices: [{ index: 0, delta: { content: "word" }, finish_reason: null }],
})}\n\n`;

async function startBare(): Promise<number> {
  const server = createServer(async (request, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const { max_tokens } = JSON.parse(Buffer.concat(pieces).toString()) as { max_tokens: number };
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    for (let i = 0; i < max_tokens; i++) response.write(chunk);
    response.end("data: [DONE]\n\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as { port: number }).port;
}

const port = process.argv[2] === "bare" ? await startBare() : await startGateway();
process.on("message", () => {
  const { user, system } = process.cpuUsage();
  const spent: Spent = { rss: process.memoryUsage().rss, cpuMs: (user + system) / 1000 };
  process.send?.(spent);
});
process.on("disconnect", () => process.exit());
process.send?.(port);
