/**
 * Placement never changes the answer, nor does speculation, on the bundled model: the same prompts,
 * greedy and sampled, computed token by token on one rank, and speculating on every kind of topology,
 * over one process and two, over slow wires and fast ones, with replicated, replaced and redundant experts, and with the context
 * cache off, cold and warm. Ends with status 1 if a token or logprob differs.
 *
 *   node dist/bench/replay/soak-placement.js [prompts] [policies] [DAYSIX_ISA]   by default 50 w8a16
 *
 * The third argument adds a second node with kernels of another instruction set than this one's.
 */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { clusterSecret, generateSecret, parseTopology, parseWire } from "../../cluster/index.ts";
import { dispatchedRows } from "../../expert-parallel/index.ts";
import {
  Engine,
  greedySampling,
  type AskedRequest,
  type EngineOptions,
  type EngineStats,
} from "../../engine/index.ts";
import { policies, randomSource, type Policy } from "../../kernels/index.ts";
import { readConfig } from "../../model/index.ts";

const [promptCount = "50", policyNames = "w8a16", otherInstructionSet] = process.argv.slice(2);
const MAX_TOKENS = 40;
const main = fileURLToPath(new URL("../../cli/main.js", import.meta.url));
const modelDirectory = fileURLToPath(new URL("../../../models/calf", import.meta.url));

/** Whole numbers below a bound, any fixed ones. */
function numbers(seed: number): (bound: number) => number {
  const random = randomSource(seed);
  return (bound) => Math.floor(random() * bound);
}

/** Prompts of 10 to 200 tokens, every fifth with the beginning of an earlier one, and some that repeat themselves. */
function prompts(vocabSize: number): AskedRequest[] {
  const random = numbers(7);
  const requests: AskedRequest[] = [];
  for (let i = 0; i < Number(promptCount); i++) {
    const length = 10 + random(190);
    const fresh = Array.from({ length }, () => 16 + random(vocabSize - 16));
    const shared = i % 5 === 4 ? requests[i - 4].prompt.slice(0, 128) : [];
    if (i % 3 === 0) fresh.push(...fresh.slice(0, 8));
    requests.push({
      id: `${i}`,
      tenant: "",
      prompt: [0, ...shared.slice(1), ...fresh],
      choice: 0,
      maxTokens: MAX_TOKENS,
      stopTokens: [1],
      topLogprobs: 1,
      sampling: i % 2 === 0 ? greedySampling : { ...greedySampling, temperature: 0.8, seed: i },
    });
  }
  return requests;
}

/** Every expert somewhere, `physical - experts` of them twice or more, anywhere. */
function randomPlacement(layers: number, experts: number, physical: number): number[][] {
  const random = numbers(11);
  return Array.from({ length: layers }, () => {
    const map = Array.from({ length: physical }, (_, i) => (i < experts ? i : random(experts)));
    for (let i = map.length - 1; i > 0; i--) {
      const j = random(i + 1);
      [map[i], map[j]] = [map[j], map[i]];
    }
    return map;
  });
}

/** Tokens and logprobs of each request, all of them at once. */
async function run(policy: Policy, options: Partial<EngineOptions>) {
  const kvMemoryBytes = 64 * 2 ** 20;
  const engine = await Engine.start({ modelDirectory, policy, kvMemoryBytes, ...options });
  const answer = async (request: AskedRequest) => {
    const said: string[] = [];
    for await (const event of engine.generate(request)) {
      if (event.kind === "failed") throw new Error(event.message);
      if (event.kind === "token") said.push(`${event.token} ${event.logprob}`);
    }
    return said;
  };
  try {
    const answers = await Promise.all(prompts(engine.vocabSize).map(answer));
    const ranks = await engine.rankStats();
    const traffic = ranks.map((rank) => rank.traffic);
    const rows = dispatchedRows(engine.topology, engine.nodeOfRank, traffic);
    return { answers, ranks, rows };
  } finally {
    await engine.close();
  }
}

const { layers, firstDense, gate } = await readConfig(modelDirectory);
const placement = (physical: number) =>
  randomPlacement(layers - firstDense, gate.experts, physical);
const directory = await mkdtemp(join(tmpdir(), "daysix-soak-"));
const contextCache = { store: directory, limits: { maxBytes: 2 ** 30, maxAgeMs: 3_600_000 } };
const settings: [topology: string, what: string, options: Partial<EngineOptions>][] = [
  ["combined=1x4", "experts in order", {}],
  ["combined=1x4", "steps that overlap", { overlap: "on" }],
  ["prefill=1x2,decode=1x3", "experts in order", {}],
  ["prefill=2x2,decode=2x2", "experts in order", {}],
  ["prefill=2x2,decode=2x2", "experts in order, on two nodes", { nodes: { count: 2 } }],
  [
    "prefill=2x2,decode=2x2",
    "steps that overlap, on two nodes",
    { overlap: "on", nodes: { count: 2 } },
  ],
  ["combined=1x4", "rows passed on inside two nodes", { nodes: { count: 2 } }],
  [
    "combined=1x4",
    "rows passed on inside two nodes, steps that overlap, over a wire",
    { overlap: "on", nodes: { count: 2, wire: parseWire("100us,1Gbps") } },
  ],
  [
    "combined=1x2",
    "steps that overlap, over a slow wire between two nodes",
    { overlap: "on", nodes: { count: 2, wire: parseWire("2ms,200Mbps") } },
  ],
  [
    "prefill=1x2,decode=1x2",
    "over a fast wire between ranks",
    { nodes: { count: 1, wire: parseWire("50us,10Gbps") } },
  ],
  ["prefill=1x2,decode=1x2", "experts replicated", { experts: "replicated" }],
  [
    "prefill=1x2,decode=1x3",
    "60 physical experts, shuffled",
    { experts: { placement: placement(60) } },
  ],
  [
    "prefill=2x2,decode=2x2",
    "56 physical experts, shuffled",
    { experts: { placement: placement(56) } },
  ],
  ["prefill=1x2,decode=1x2", "context cache cold", { contextCache }],
  ["prefill=1x2,decode=1x2", "context cache warm", { contextCache, reading: "prefill" }],
  [
    "prefill=1x2,decode=1x2",
    "context cache warm, read by decode ranks",
    { contextCache, reading: "decode" },
  ],
  [
    "prefill=2x2,decode=2x2",
    "context cache warm, read by either, on two nodes",
    { contextCache, nodes: { count: 2 } },
  ],
];

/** A second process that joins as `daysix node` does, with kernels of its own. */
function otherNode(policy: Policy, instructionSet: string): Partial<EngineOptions> {
  const secret = generateSecret();
  const secretFile = join(directory, "secret");
  writeFileSync(secretFile, secret);
  const listening = (port: number) => {
    const flags = ["--join", `127.0.0.1:${port}`, "--model", modelDirectory, "--policy", policy];
    spawn(process.execPath, [main, "node", ...flags, "--secret-file", secretFile], {
      stdio: "inherit",
      env: { ...process.env, DAYSIX_ISA: instructionSet },
    });
  };
  const listen = { host: "127.0.0.1", port: 0 };
  const awaited = { listen, secret: clusterSecret(secret), listening, refused: console.error };
  return { nodes: { count: 2, await: awaited } };
}

let differing = 0;
for (const policy of policies.filter((name) => policyNames.includes(name))) {
  const { answers: expected } = await run(policy, {});
  const mixed: typeof settings = otherInstructionSet
    ? [
        [
          "prefill=2x2,decode=2x2",
          `on a node with ${otherInstructionSet}, too`,
          otherNode(policy, otherInstructionSet),
        ],
      ]
    : [];
  for (const [topology, what, options] of [...settings, ...mixed]) {
    const began = performance.now();
    const units = parseTopology(topology);
    const { answers, ranks, rows } = await run(policy, {
      ...options,
      topology: units,
      speculate: true,
    });
    const wrong = answers.filter((said, i) => said.join() !== expected[i].join()).length;
    const sum = (count: (rank: EngineStats) => number) =>
      ranks.reduce((all, rank) => all + count(rank), 0);
    const seconds = Math.round((performance.now() - began) / 1000);
    const blocks = sum((rank) => rank.contextCache?.hits ?? 0);
    const lent = sum((rank) => rank.contextCache?.lent ?? 0);
    const proposed = sum((rank) => rank.proposedTokens);
    const accepted = sum((rank) => rank.acceptedTokens);
    const told = {
      policy,
      topology,
      what,
      differing: wrong,
      seconds,
      blocks,
      lent,
      proposed,
      accepted,
      rows,
    };
    console.log(JSON.stringify(told));
    differing += wrong;
  }
}
await rm(directory, { recursive: true });
process.exitCode = differing === 0 ? 0 : 1;
