/**
 * The longest silence of a stream whose node is killed or frozen: its decode node, its prefill node, and
 * one of each in turn, with the context cache and without, on calf and this machine's loopback; beside it
 * that of an undisturbed stream. Ends with status 1 if one says other words than on one undisturbed rank.
 *
 *   npm run bench:gaps -- [prompt words] [tokens] [rounds] [blow]    by default 700 300 5, and all four
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { askServer, serverEvents, type Server } from "../../gateway/index.ts";
import { randomSource } from "../../kernels/index.ts";
import { median } from "../percentiles.ts";
import { withCalmServer } from "./process-chaos.ts";
import { ProcessCluster } from "./process-cluster-fixtures.ts";

const [promptWords = "700", answerTokens = "300", roundCount = "5", only] = process.argv.slice(2);

/** A node is struck when this share of the answer's tokens has come; or in the middle of its prompt. */
type Moment = number | "prompt";

interface Blow {
  readonly what: string;
  /** Node 0, which has the first unit, stays. Of ranks without work the first is taken. */
  readonly topology: string;
  readonly strikes: readonly (readonly [node: number, at: Moment, signal: NodeJS.Signals])[];
  /** A stream of another client keeps the first decode rank, so that the next is taken. */
  readonly hasCompany?: true;
}

const blows: readonly Blow[] = [
  {
    what: "decode node killed",
    topology: "prefill=1x1,decode=2x1",
    strikes: [[1, 0.5, "SIGKILL"]],
  },
  {
    what: "prefill node killed",
    topology: "decode=1x1,prefill=2x1",
    strikes: [[1, "prompt", "SIGKILL"]],
  },
  {
    what: "prefill, then decode node killed",
    topology: "decode=2x1,prefill=2x1",
    strikes: [
      [2, "prompt", "SIGKILL"],
      [1, 0.5, "SIGKILL"],
    ],
    hasCompany: true,
  },
  {
    what: "decode node frozen",
    topology: "prefill=1x1,decode=2x1",
    strikes: [[1, 0.5, "SIGSTOP"]],
  },
];

interface Stream {
  readonly text: string;
  readonly promptTokens: number;
  /** Milliseconds to the first words, and the longest between two. */
  readonly first: number;
  readonly longest: number;
}

const words = "once upon a time there was little sheep that knew how to add two numbers".split(" ");

/** Prompts of different numbers begin differently, so that no pool has them. */
function promptOf(number: number): string {
  const random = randomSource(number + 1);
  const word = () => words[Math.floor(random() * words.length)];
  return Array.from({ length: Number(promptWords) }, word).join(" ");
}

interface Chunk {
  readonly choices: readonly { readonly text: string }[];
  readonly usage?: { readonly prompt_tokens: number } | null;
}

/** Reads a whole answer to a prompt; `heard` is told which share of it has come. */
async function read(
  server: Server,
  number: number,
  heard: (share: number) => void = () => undefined,
): Promise<Stream> {
  const began = performance.now();
  const tokens = Number(answerTokens);
  const response = await askServer(server, "/v1/completions", {
    ...{ model: "calf", prompt: promptOf(number), temperature: 0.9, seed: number },
    ...{ stream: true, stream_options: { include_usage: true } },
    ...{ max_tokens: tokens, logit_bias: { 0: -100, 1: -100 } },
  });
  const stream = { text: "", promptTokens: 0, first: 0, longest: 0 };
  let last = 0;
  let chunks = 0;
  for await (const { choices, usage } of serverEvents<Chunk>(response)) {
    const now = performance.now() - began;
    if (chunks++ === 0) stream.first = now;
    else stream.longest = Math.max(stream.longest, now - last);
    last = now;
    stream.text += choices[0]?.text ?? "";
    stream.promptTokens = usage?.prompt_tokens ?? 0;
    heard(chunks / tokens);
  }
  return stream;
}

/** An undisturbed stream, then one that is struck, on a cluster of their own. */
async function strike({ topology, strikes, hasCompany }: Blow, cached: boolean, number: number) {
  const folder = await mkdtemp(join(tmpdir(), "daysix-gaps-"));
  const nodes = topology
    .split(",")
    .flatMap((role) => Array<number>(Number(/=(\d)/.exec(role)?.[1])).fill(1));
  const flags = cached ? ["--cache-dir", join(folder, "cache")] : [];
  const cluster = await ProcessCluster.start({ topology, nodes, folder, flags });
  const { server } = cluster;
  const company = new AbortController();
  try {
    const quiet = await read(server, number + 1000);
    if (hasCompany) await keepCompany(server, company.signal);
    const left = [...strikes];
    const strikeNext = () => {
      const [node, , signal] = left.shift() as Blow["strikes"][number];
      cluster.strike(node, signal);
    };
    if (left[0][1] === "prompt") setTimeout(strikeNext, quiet.first / 2);
    const struck = await read(server, number, (share) => {
      const at = left[0]?.[1];
      if (typeof at === "number" && share >= at) strikeNext();
    });
    const resumed = await cluster.metric("daysix_resumed_requests_total");
    const recomputed = await cluster.metric("daysix_recomputed_tokens_total");
    return { quiet, struck, resumed, recomputed };
  } finally {
    company.abort();
    await cluster.close();
    await rm(folder, { recursive: true });
  }
}

/** Has somebody else's answer on its way, until the signal. */
async function keepCompany({ url }: Server, signal: AbortSignal): Promise<void> {
  const body = {
    model: "calf",
    prompt: "a",
    max_tokens: 2000,
    stream: true,
    logit_bias: { 0: -100, 1: -100 },
  };
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
    signal,
  });
  const reader = response.body?.getReader();
  await reader?.read();
  const readOn = async () => {
    while (!(await reader?.read())?.done);
  };
  readOn().catch(() => undefined);
}

let differing = 0;
await withCalmServer(async (calm) => {
  for (const blow of only === undefined ? blows : [blows[Number(only) - 1]]) {
    for (const cached of [false, true]) {
      const rounds: Awaited<ReturnType<typeof strike>>[] = [];
      for (let round = 0; round < Number(roundCount); round++) {
        const result = await strike(blow, cached, round);
        if (result.struck.text !== (await read(calm, round)).text) differing++;
        rounds.push(result);
      }
      const over = (value: (round: (typeof rounds)[number]) => number) =>
        Math.round(median(rounds.map(value)));
      const told = {
        what: blow.what,
        store: cached,
        promptTokens: over(({ struck }) => struck.promptTokens),
        firstMs: over(({ struck }) => struck.first),
        longestGapMs: over(({ struck }) => struck.longest),
        undisturbed: {
          firstMs: over(({ quiet }) => quiet.first),
          longestGapMs: over(({ quiet }) => quiet.longest),
        },
        resumed: rounds.map(({ resumed }) => resumed),
        recomputedTokens: over(({ recomputed }) => recomputed),
      };
      console.log(JSON.stringify(told));
    }
  }
});
console.log(JSON.stringify({ differing }));
process.exitCode = differing === 0 ? 0 : 1;
