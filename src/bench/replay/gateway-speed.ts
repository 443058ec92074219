#!/usr/bin/env node
/**
 * `npm run bench:gateway -- [requests] [soak]`: the gateway alone, before an engine that has its tokens at
 * once, beside a bare Node HTTP server that answers as many events, in turns. Requests a second and
 * milliseconds of a whole answer at 1, 100 and 1,000 streams, 16 tokens each; then resident memory
 * while `soak` requests are answered. By default 4,000 requests a turn, and 100,000 for memory.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { fileURLToPath } from "node:url";
import { median, percentile } from "../percentiles.ts";
import type { Spent } from "./gateway-servers.ts";

const [requests = "4000", soak = "100000"] = process.argv.slice(2);
const STREAMS = [1, 100, 1000];
const TURNS = 3;
const SAMPLES = 10;
const TOKENS = 16;
const body = JSON.stringify({
  ...{ model: "calf", stream: true, max_tokens: TOKENS },
  messages: [{ role: "user", content: "What is 47 + 38?" }],
});

interface Server {
  readonly child: ChildProcess;
  readonly port: number;
}

async function start(which: "gateway" | "bare"): Promise<Server> {
  const child = fork(fileURLToPath(new URL("./gateway-servers.js", import.meta.url)), [which]);
  const [port] = (await once(child, "message")) as [number];
  return { child, port };
}

/** Milliseconds until all of an answer has come. */
function answer(port: number, agent: Agent): Promise<number> {
  const began = performance.now();
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "content-length": body.length };
    const path = "/v1/chat/completions";
    const sent = request(
      { host: "127.0.0.1", port, path, method: "POST", headers, agent },
      (come) => {
        let text = "";
        come.setEncoding("utf8");
        come.on("data", (piece: string) => (text = (text + piece).slice(-20)));
        come.on("end", () => {
          if (come.statusCode === 200 && text.endsWith("data: [DONE]\n\n")) {
            resolve(performance.now() - began);
          } else reject(new Error(`${come.statusCode}, ending in ${text}`));
        });
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

interface Turn {
  readonly perSecond: number;
  /** Milliseconds of the server's processor time for each request. */
  readonly cpu: number;
  readonly p50: number;
  readonly p99: number;
}

async function spentBy({ child }: Server): Promise<Spent> {
  child.send("spent");
  const [spent] = (await once(child, "message")) as [Spent];
  return spent;
}

async function turn(server: Server, streams: number, count: number): Promise<Turn> {
  const agent = new Agent({ keepAlive: true, maxSockets: streams });
  const times: number[] = [];
  const before = await spentBy(server);
  const began = performance.now();
  let left = count;
  const one = async () => {
    while (left-- > 0) times.push(await answer(server.port, agent));
  };
  await Promise.all(Array.from({ length: streams }, one));
  agent.destroy();
  const perSecond = (1000 * count) / (performance.now() - began);
  const cpu = ((await spentBy(server)).cpuMs - before.cpuMs) / count;
  return { perSecond, cpu, p50: percentile(times, 0.5), p99: percentile(times, 0.99) };
}

const servers = { gateway: await start("gateway"), bare: await start("bare") };
await turn(servers.gateway, 16, 2000);
await turn(servers.bare, 16, 2000);
for (const streams of STREAMS) {
  const turns: Record<"gateway" | "bare", Turn[]> = { gateway: [], bare: [] };
  for (let round = 0; round < TURNS; round++) {
    const count = streams === 1 ? Number(requests) / 4 : Number(requests);
    for (const which of ["gateway", "bare"] as const) {
      turns[which].push(await turn(servers[which], streams, count));
    }
  }
  const of = (which: "gateway" | "bare", figure: keyof Turn) =>
    median(turns[which].map((each) => each[figure]));
  for (const which of ["gateway", "bare"] as const) {
    const figure = (each: keyof Turn) => of(which, each).toFixed(each === "perSecond" ? 0 : 2);
    console.log(
      `${streams} streams, ${which}: ${figure("perSecond")} requests/s, ` +
        `p50 ${figure("p50")} ms, p99 ${figure("p99")} ms, ${figure("cpu")} ms of processor each`,
    );
  }
  const added = of("gateway", "p50") - of("bare", "p50");
  console.log(`${streams} streams: the gateway adds ${added.toFixed(2)} ms (p50)`);
}

for (let sample = 0; sample < SAMPLES && Number(soak) > 0; sample++) {
  await turn(servers.gateway, 100, Number(soak) / SAMPLES);
  const { rss } = await spentBy(servers.gateway);
  const answered = ((sample + 1) * Number(soak)) / SAMPLES;
  console.log(`${answered} more requests: ${(rss / 2 ** 20).toFixed(0)} MiB resident`);
}
for (const { child } of Object.values(servers)) child.disconnect();
