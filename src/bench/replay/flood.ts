/**
 * A flood of prompts that are all refused, beside live streams, on two nodes with a short failure
 * timeout: nobody but who sent such a prompt may notice. Ends with status 1 when a node is lost, a
 * stream fails or stops for too long, or `/health` is late.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { askServer, firstModel, serverEvents, type Server } from "../../gateway/index.ts";

const STREAMS = 8;
const STREAM_TOKENS = 1500;
const LONGEST_GAP_MS = 500;
const LONGEST_HEALTH_MS = 100;

const command = fileURLToPath(new URL("../../cli/main.js", import.meta.url));
const serverProcess = spawn(
  process.execPath,
  [command, "serve", "--nodes", "2", "--topology", "combined=1x2"].concat([
    "--failure-timeout",
    "3s",
    "--port",
    "0",
    "--log-level",
    "error",
  ]),
  { stdio: ["ignore", "pipe", "pipe"] },
);
let said = "";
const greeted = new Promise<string>((resolve, reject) => {
  const hear = (data: Buffer) => {
    said += data.toString();
    const [, url] = /at (http:\S+)\/v1/.exec(said) ?? [];
    if (url !== undefined) resolve(url);
  };
  serverProcess.stdout.on("data", hear);
  serverProcess.stderr.on("data", hear);
  serverProcess.once("exit", () => reject(new Error(said)));
});
const exited = once(serverProcess, "exit");
const server: Server = { url: await greeted };
const model = await firstModel(server);

/** The longest wait between two chunks of a stream, in milliseconds; its tokens are random words. */
async function stream(seed: number, began: () => void): Promise<number> {
  const response = await askServer(server, "/v1/completions", {
    ...{ model, prompt: "Once upon a time", stream: true, temperature: 1, seed },
    ...{ max_tokens: STREAM_TOKENS, logit_bias: { 0: -100, 1: -100 } },
  });
  let longest = 0;
  let last: number | undefined;
  for await (const _ of serverEvents(response)) {
    const now = performance.now();
    if (last === undefined) began();
    else longest = Math.max(longest, now - last);
    last = now;
  }
  return longest;
}

async function watchHealth(until: AbortSignal): Promise<number> {
  let longest = 0;
  while (!until.aborted) {
    const asked = performance.now();
    // A connection that was idle too long is opened anew, within the same wait.
    const answer = await fetch(`${server.url}/health`).catch(() => fetch(`${server.url}/health`));
    await answer.text();
    longest = Math.max(longest, performance.now() - asked);
    await sleep(10);
  }
  return longest;
}

const flood = new Worker(new URL("./flood-prompts.js", import.meta.url), {
  workerData: { url: server.url, model },
});
await once(flood, "message");
const begun: Promise<void>[] = [];
let ended = 0;
const streams = Promise.allSettled(
  Array.from({ length: STREAMS }, (_, seed) => {
    let begin = () => {};
    begun.push(new Promise((resolve) => (begin = resolve)));
    return stream(seed, begin).finally(() => ended++);
  }),
);
await Promise.all(begun);
const over = new AbortController();
const health = watchHealth(over.signal);
flood.postMessage("go");
const [statuses] = (await once(flood, "message")) as [number[]];
const live = STREAMS - ended;
over.abort();
const healthMs = await health;
const gaps = (await streams).flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
const lost = /lost/.test(said) || serverProcess.exitCode !== null;
const count = (status: number) => statuses.filter((each) => each === status).length;
const figures = {
  refused: { 400: count(400), 413: count(413), 429: count(429), 503: count(503) },
  streams: { beside: live, whole: gaps.length },
  longestGapMs: Math.round(Math.max(...gaps)),
  longestHealthMs: Math.round(healthMs),
  nodeLost: lost,
};
console.log(JSON.stringify(figures));
if (lost) console.log(said);
await flood.terminate();
serverProcess.kill();
await exited;
const passed =
  !lost &&
  gaps.length === STREAMS &&
  statuses.every((status) => status >= 400) &&
  figures.longestGapMs <= LONGEST_GAP_MS &&
  figures.longestHealthMs < LONGEST_HEALTH_MS;
process.exitCode = passed ? 0 : 1;
