/**
 * Whether a server's memory grows with the requests it has answered: `npm run soak:memory`. Starts
 * `daysix serve` on calf and prints its resident memory after 2,000 and after 20,000 short requests.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { runLoad, uniformLoad } from "../serving/index.ts";

const COUNTS = [2_000, 20_000];
const CONCURRENCY = 16;
const LARGEST_GROWTH = 0.05;

const main = fileURLToPath(new URL("../../cli/main.js", import.meta.url));
const options = ["--port", "0", "--topology", "prefill=1x1,decode=1x1", "--kv-memory", "64M"];
const server = spawn(process.execPath, [main, "serve", ...options], {
  stdio: ["ignore", "pipe", "inherit"],
});
process.on("exit", () => server.kill());

async function address(): Promise<string> {
  for await (const line of createInterface({ input: server.stdout })) {
    const [found] = /http:\/\/[\d.:]+/.exec(line) ?? [];
    if (found) return found;
  }
  throw new Error("the server ended before it was ready");
}

/** MiB of the server's process. */
function residentMemory(): number {
  const status = readFileSync(`/proc/${server.pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
}

const url = await address();
server.stdout.resume();
const memory: number[] = [];
const load = uniformLoad({ requests: COUNTS[1], promptTokens: 16, maxTokens: 4 });
let answered = 0;
for (const count of COUNTS) {
  const requests = load.slice(answered, count);
  const report = await runLoad({ url, model: "calf", requests, concurrency: CONCURRENCY });
  if (report.answered < requests.length) throw new Error(JSON.stringify(report.errors));
  answered = count;
  memory.push(residentMemory());
  console.log(`${count} requests: ${memory.at(-1)?.toFixed(0)} MiB resident`);
}
const growth = memory[1] / memory[0] - 1;
console.log(`growth ${(100 * growth).toFixed(1)} %, at most ${100 * LARGEST_GROWTH} %`);
process.exitCode = growth <= LARGEST_GROWTH ? 0 : 1;
server.kill();
