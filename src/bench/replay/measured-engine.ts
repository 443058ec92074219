import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { clusterSecret, generateSecret, parseTopology } from "../../cluster/index.ts";
import { boundHeaps, Engine, greedySampling, type OverlapMode } from "../../engine/index.ts";
import { randomSource } from "../../kernels/index.ts";
import type { SpanBatch } from "../../trace/index.ts";
import { spansByRank } from "../ladder/index.ts";
import { packedCheckpoint, packedFolderOf } from "../model/index.ts";
import type { Link } from "./link.ts";
import { stepTimes, type StepTimes } from "./overlap-figures.ts";

const main = fileURLToPath(new URL("../../cli/main.js", import.meta.url));

/** What an engine on one or two nodes of one core each is started with. */
export interface MeasuredOptions {
  readonly directory: string;
  readonly policy: "int8";
  readonly chunkRows: number;
  readonly overlap: OverlapMode;
  /** Where the second node is; none: this one computes alone. */
  readonly link?: Pick<Link, "address" | "far"> | undefined;
}

/** One unit, a rank on each node, and the spans of its ranks. */
export class MeasuredEngine {
  readonly engine: Engine;
  readonly #ranks: number;
  readonly #node: SecondNode | undefined;
  readonly #batches: SpanBatch[];

  static async start(options: MeasuredOptions): Promise<MeasuredEngine> {
    const { directory, policy, chunkRows, overlap, link } = options;
    const packed = await packedCheckpoint(directory, policy);
    boundHeaps();
    const ranks = link ? 2 : 1;
    const node = link && new SecondNode(directory, policy, link);
    const batches: SpanBatch[] = [];
    const engine = await Engine.start(
      {
        ...{ modelDirectory: directory, packed, policy, overlap, chunkRows },
        kvMemoryBytes: 2 ** 29,
        topology: parseTopology(`combined=1x${ranks}`),
        ...(node && { nodes: { count: 2, await: node.awaited } }),
      },
      { trace: { epochMs: Date.now(), write: (batch) => batches.push(batch) } },
    );
    return new MeasuredEngine(engine, ranks, node, batches);
  }

  private constructor(
    engine: Engine,
    ranks: number,
    node: SecondNode | undefined,
    batches: SpanBatch[],
  ) {
    this.engine = engine;
    this.#ranks = ranks;
    this.#node = node;
    this.#batches = batches;
  }

  /** Steps of so many rows on each rank while the requests are answered. */
  async run(asked: readonly number[][], maxTokens: number, rows: number): Promise<StepTimes> {
    this.#batches.splice(0);
    await this.answer(asked, maxTokens);
    return stepTimes(spansByRank(this.#batches, this.#ranks, 0), rows);
  }

  async answer(asked: readonly number[][], maxTokens: number): Promise<void> {
    const answers = asked.map(async (tokens, id) => {
      const request = { id: `${id}`, tenant: "", prompt: tokens, choice: 0, stopTokens: [] };
      const sampling = greedySampling;
      for await (const event of this.engine.generate({ ...request, maxTokens, sampling })) {
        if (event.kind === "failed") throw new Error(event.message);
      }
    });
    await Promise.all(answers);
  }

  /** Bytes that a rank has sent so far, and the mean of its rows to other ranks. */
  async sent(): Promise<{ readonly rows: number; readonly bytes: number }> {
    const told = await this.engine.rankStats();
    const off = (rank: number, values: readonly number[] = []) =>
      values.reduce((total, value, to) => total + (to === rank ? 0 : value), 0);
    const mean = (of: "rowsTo" | "bytesTo") =>
      told.reduce((total, { traffic }, rank) => total + off(rank, traffic?.[of]), 0) / this.#ranks;
    return { rows: mean("rowsTo"), bytes: mean("bytesTo") };
  }

  async close(): Promise<void> {
    await this.engine.close();
    this.#node?.close();
  }
}

/** `daysix node` at the far end of a link, on the second core. */
class SecondNode {
  /** What the first node waits for. */
  readonly awaited;
  readonly #folder = mkdtempSync(join(tmpdir(), "daysix-far-"));
  #process: ChildProcess | undefined;

  constructor(directory: string, policy: string, { address, far }: Pick<Link, "address" | "far">) {
    const secret = generateSecret();
    const secretFile = join(this.#folder, "secret");
    writeFileSync(secretFile, secret);
    const listening = (port: number) => {
      const flags = [
        ...["--join", `${address}:${port}`, "--secret-file", secretFile],
        ...["--model", directory, "--policy", policy, "--packed-dir", packedFolderOf(directory)],
      ];
      const words = [...far, "taskset", "-c", "1", process.execPath, main, "node", ...flags];
      const [program, ...rest] = words;
      this.#process = spawn(program, rest, { stdio: ["ignore", "ignore", "inherit"] });
    };
    const listen = { host: address, port: 0 };
    this.awaited = { listen, secret: clusterSecret(secret), listening, refused: console.error };
  }

  close(): void {
    this.#process?.kill();
    rmSync(this.#folder, { recursive: true });
  }
}

/** What is asked in a round. */
export interface AskedWork {
  readonly name: "prefill" | "decode";
  readonly maxTokens: number;
  /** Prompts whose KV is kept from the start. */
  readonly contexts: readonly number[][];
  readonly drawPrompts: () => number[][];
}

export interface AskedSizes {
  /** Prompts of so many tokens; of none, nothing is asked of that kind. */
  readonly prompts: number;
  readonly prompt: number;
  /** Requests in all, each behind so many tokens. */
  readonly requests: number;
  readonly context: number;
  /** Tokens of each request, but for the first. */
  readonly decoded: number;
  readonly ranks: number;
}

/** Requests that go on from the same tokens, each for itself. */
const SHARING = 64;

/** Random prompts, and requests that decode behind a context. */
export function askedWork(vocabSize: number, sizes: AskedSizes): AskedWork[] {
  const { prompts, prompt, requests, context, decoded, ranks } = sizes;
  const draw = randomSource(5);
  const drawTokens = (length: number) =>
    Array.from({ length }, () => Math.floor(draw() * vocabSize));
  const prefill: AskedWork = {
    ...{ name: "prefill", maxTokens: 1, contexts: [] },
    drawPrompts: () => Array.from({ length: prompts }, () => drawTokens(prompt)),
  };
  // One for each rank at least: requests go to the rank that has their context.
  const sharers = Math.max(ranks, Math.ceil(requests / SHARING));
  const contexts = Array.from({ length: sharers }, () => drawTokens(context));
  const decode: AskedWork = {
    ...{ name: "decode", maxTokens: 1 + decoded, contexts },
    drawPrompts: () =>
      Array.from({ length: requests }, (_, i) => [...contexts[i % sharers], ...drawTokens(1)]),
  };
  return [...(prompt > 0 ? [prefill] : []), ...(requests > 0 ? [decode] : [])];
}
