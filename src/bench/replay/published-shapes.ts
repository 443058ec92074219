#!/usr/bin/env node
/**
 * `npm run soak:published`: DeepSeek's published deployment units, on one machine. A prefill unit of 4
 * nodes × 8 ranks with 9 routed experts each and a decode unit of 18 nodes × 8 ranks with 2 each, 288
 * physical experts for 256, answer as a single rank does, bit for bit. The checkpoint is random and
 * small, made from a seed; nodes are processes that speak over sockets.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseTopology } from "../../cluster/index.ts";
import {
  Engine,
  greedySampling,
  type EngineOptions,
  type AskedRequest,
} from "../../engine/index.ts";
import { dispatchedRows } from "../../expert-parallel/index.ts";
import { writeRandomCheckpoint } from "../model/index.ts";
import { shapes } from "../model/index.ts";

const SEED = 6;
const directory = await mkdtemp(join(tmpdir(), "daysix-published-"));

const requests = [3, 70, 150].map((length, index): AskedRequest => ({
  id: `${index}`,
  tenant: "",
  prompt: Array.from({ length }, (_, i) => 2 + ((i * 37 + index * 101) % 500)),
  choice: 0,
  maxTokens: 4,
  stopTokens: [],
  topLogprobs: 1,
  sampling: { ...greedySampling, temperature: index === 0 ? 0 : 0.9, seed: index },
}));

async function run(options: Partial<EngineOptions>) {
  const began = performance.now();
  const engine = await Engine.start({
    modelDirectory: directory,
    policy: "w8a8",
    kvMemoryBytes: 2 ** 20,
    ...options,
  });
  const started = performance.now();
  try {
    const answers = await Promise.all(
      requests.map(async (request) => {
        const said: string[] = [];
        for await (const event of engine.generate(request)) {
          if (event.kind === "failed") throw new Error(event.message);
          if (event.kind === "token") said.push(`${event.token} ${event.logprob}`);
        }
        return said.join();
      }),
    );
    const answered = performance.now();
    const traffic = (await engine.rankStats()).map((rank) => rank.traffic);
    const rows = dispatchedRows(engine.topology, engine.nodeOfRank, traffic);
    const seconds = { start: started - began, answers: answered - started };
    return { answers, rows, seconds };
  } finally {
    await engine.close();
  }
}

try {
  await writeRandomCheckpoint(directory, { config: shapes.grain, seed: SEED });
  const alone = await run({});
  const published = await run({
    topology: parseTopology("prefill=1x32,decode=1x144"),
    nodes: { count: [4, 18], failureTimeoutMs: 600_000 },
    experts: { redundantExperts: 32 },
  });
  const differing = published.answers.filter((said, i) => said !== alone.answers[i]).length;
  const { links, ranks } = published.rows;
  console.log(
    JSON.stringify({
      requests: requests.length,
      differing,
      ranks: ranks.length,
      links: links.length,
      rowsOverLinks: links.reduce((sum, { rows }) => sum + rows, 0),
      secondsToStart: Math.round(published.seconds.start / 1000),
      secondsToAnswer: Math.round(published.seconds.answers / 1000),
    }),
  );
  process.exitCode = differing === 0 ? 0 : 1;
} finally {
  await rm(directory, { recursive: true });
}
