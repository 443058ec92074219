#!/usr/bin/env node
/**
 * `npm run replay:calf [-- FOLDER]`: the first 50 requests of Mooncake's conversations that fit calf's
 * context, one after the other through an engine of prefill and decode units on two nodes that share
 * one context-cache directory, and once more through an engine that finds only the directory. Prints
 * the shares of prompt tokens that were hits beside an infinite cache's. Equal trace blocks become equal tokens; answers are cut to 16 tokens.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseTopology } from "../../cluster/index.ts";
import { Engine, greedySampling } from "../../engine/index.ts";
import { readMooncakeTrace, type TraceRequest } from "../mooncake.ts";
import { infiniteCacheHits } from "./prefix-hits.ts";

const REQUESTS = 50;
const CONTEXT = 2048;
const MAX_ANSWER = 16;
const TRACE_BLOCK = 512;
const KV_BLOCK = 64;
const [folder = "../shared/data/mooncake"] = process.argv.slice(2);

/** Tokens of a prompt: those of a trace block follow from its identifier. */
function tokensOf({ blocks, promptTokens }: TraceRequest, vocabSize: number): number[] {
  const tokens = blocks.flatMap((block) =>
    Array.from({ length: TRACE_BLOCK }, (_, i) => {
      const mixed = Math.imul(block * TRACE_BLOCK + i + 1, 2654435761) >>> 0;
      return 16 + ((mixed >>> 8) % (vocabSize - 16));
    }),
  );
  return tokens.slice(0, promptTokens);
}

/** The full KV blocks of a prompt that a hit may cover: less than all of its tokens. */
function reusable({ blocks, promptTokens }: TraceRequest): number[] {
  const perBlock = TRACE_BLOCK / KV_BLOCK;
  return Array.from(
    { length: Math.floor((promptTokens - 1) / KV_BLOCK) },
    (_, i) => blocks[Math.floor(i / perBlock)] * perBlock + (i % perBlock),
  );
}

const trace = await readMooncakeTrace(join(folder, "conversation_trace_0-29min.jsonl"));
const fitting = trace.filter((each) => each.promptTokens + each.answerTokens <= CONTEXT);
const requests = fitting.slice(0, REQUESTS);
const directory = await mkdtemp(join(tmpdir(), "daysix-mooncake-"));

/** All requests through a new engine: shares of the prompt tokens that were hits. */
async function replay() {
  const engine = await Engine.start({
    modelDirectory: fileURLToPath(new URL("../../../models/calf", import.meta.url)),
    policy: "w8a16",
    // Room for two prompts beside what is kept for reuse.
    kvMemoryBytes: 8 * 2 ** 20,
    topology: parseTopology("prefill=1x2,decode=1x2"),
    nodes: { count: 2 },
    contextCache: { store: directory, limits: { maxBytes: 2 ** 30, maxAgeMs: Infinity } },
  });
  let hitTokens = 0;
  try {
    for (const [index, request] of requests.entries()) {
      const events = engine.generate({
        id: `${index}`,
        tenant: "",
        prompt: tokensOf(request, engine.vocabSize),
        choice: 0,
        maxTokens: Math.max(1, Math.min(MAX_ANSWER, request.answerTokens)),
        stopTokens: [],
        sampling: greedySampling,
      });
      for await (const event of events) {
        if (event.kind === "failed") throw new Error(event.message);
        if (event.kind === "started") hitTokens += event.hitTokens;
      }
    }
    const stats = await engine.rankStats();
    const blocks = stats.map(({ contextCache }) => contextCache?.hits ?? 0);
    return { hitTokens, blocks };
  } finally {
    await engine.close();
  }
}

const promptTokens = requests.reduce((sum, request) => sum + request.promptTokens, 0);
const share = (tokens: number) => `${((100 * tokens) / promptTokens).toFixed(2)} %`;
const prompts = requests.map(reusable);
const infinite = KV_BLOCK * infiniteCacheHits(prompts).hits;
const everything = KV_BLOCK * prompts.reduce((sum, blocks) => sum + blocks.length, 0);
console.log(`${requests.length} requests, ${promptTokens} prompt tokens`);
try {
  for (const [what, ideal] of [
    ["an empty directory", infinite],
    ["what the first run left", everything],
  ] as const) {
    const started = performance.now();
    const { hitTokens, blocks } = await replay();
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    console.log(
      `  on ${what}: hits ${share(hitTokens)}, infinite cache ${share(ideal)} ` +
        `(blocks from the directory, by rank: ${blocks.join(", ")}; ${seconds} s)`,
    );
  }
} finally {
  await rm(directory, { recursive: true });
}
