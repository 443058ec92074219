import { readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { pino, type Logger } from "pino";
import { z } from "zod";
import { formatTopology, type UnitRole } from "../cluster/index.ts";
import { Engine, type EngineOptions } from "../engine/index.ts";
import {
  Accounts,
  DashboardFiles,
  defaultPrices,
  Gateway,
  Ledger,
  PriceBook,
  serveGateway,
  type RunningServer,
  type SamplingDefaults,
  viewCluster,
} from "../gateway/index.ts";
import { createKernels, nativeProblem } from "../kernels/index.ts";
import { loadChatTemplate, Tokenizer } from "../model/index.ts";
import type { TraceWriter } from "../trace/index.ts";
import { UsageError } from "./arguments.ts";
import { createTrace } from "./trace.ts";
import { describeResident } from "./weights.ts";

export interface ServeOptions {
  readonly engine: EngineOptions;
  readonly host: string;
  readonly port: number;
  readonly apiKey?: string;
  /** The folder's name where none is given. */
  readonly servedNames?: readonly string[];
  readonly maxModelLen?: number;
  /** File that requests are billed in. */
  readonly ledger?: string;
  /** File of the prices; the built-in ones where none is given. */
  readonly prices?: string;
  /** Level of the log on stderr. */
  readonly logLevel: string;
  /** File for a trace, from the start until the server ends. */
  readonly trace?: string;
}

export interface Serving {
  readonly server: RunningServer;
  readonly engine: Engine;
  readonly trace: TraceWriter | undefined;
  /** Undefined: nothing is billed. */
  readonly accounts: Accounts | undefined;
  readonly url: string;
  readonly names: readonly string[];
}

const dashboardDirectory = fileURLToPath(new URL("../dashboard", import.meta.url));

/** Time that live answers have after SIGTERM. */
const DRAIN_MS = 30_000;

/** Loads a model and listens. */
export async function startServing(options: ServeOptions): Promise<Serving> {
  const { maxModelLen, apiKey, host, port } = options;
  const directory = options.engine.modelDirectory;
  const names = options.servedNames ?? [basename(resolve(directory))];
  const log = pino({ level: options.logLevel }, pino.destination(2));
  const accounts = await openAccounts(options, names, log);
  const tokenizer = await Tokenizer.load(directory);
  const chatTemplate = await loadChatTemplate(directory, tokenizer);
  const trace = await createTrace(options.trace);
  const engine = await Engine.start(
    {
      ...options.engine,
      usableTokens: tokenizer.vocabSize,
      ...(maxModelLen === undefined ? {} : { maxModelLen }),
    },
    {
      trace,
      lost: (rank, reason) => {
        log.error({ rank, reason }, "a rank is lost");
        accounts?.setTopology(fleetOf(engine)).catch((error: Error) => log.error(error));
      },
    },
  );
  const gateway = new Gateway({
    engine,
    tokenizer,
    chatTemplate,
    servedNames: names,
    sampling: await samplingDefaults(directory),
    log,
    cluster: await viewCluster(engine, directory),
    dashboard: await DashboardFiles.load(dashboardDirectory),
    ...(accounts ? { accounts } : {}),
    ...(apiKey === undefined ? {} : { apiKey }),
  });
  try {
    await accounts?.setTopology(fleetOf(engine));
    const server = await serveGateway(gateway, { host, port });
    return { server, engine, accounts, trace, names, url: urlOf(host, server.address.port) };
  } catch (error) {
    await Promise.allSettled([engine.close(), accounts?.close()]);
    throw error;
  }
}

/** Nodes by what their live ranks compute; every rank counts as an accelerator. */
function fleetOf({ topology, nodeOfRank, lost }: Engine) {
  const live = [...nodeOfRank.keys()].filter((rank) => !lost.has(rank));
  const nodes = new Set(live.map((rank) => nodeOfRank[rank])).size;
  const on = (role: UnitRole) => {
    const ranks = topology.units.flatMap((unit) => (unit.role === role ? unit.ranks : []));
    return new Set(ranks.filter((rank) => !lost.has(rank)).map((rank) => nodeOfRank[rank]));
  };
  const prefill = on("prefill");
  const decode = on("decode");
  const both = [...prefill].filter((node) => decode.has(node)).length;
  return {
    prefillNodes: prefill.size - both,
    decodeNodes: decode.size - both,
    combinedNodes: on("combined").size + both,
    acceleratorsPerNode: nodes === 0 ? 0 : live.length / nodes,
  };
}

/** @throws PriceBookError when a served name has no price, LedgerError when there is no writing. */
async function openAccounts(
  { ledger, prices: file }: ServeOptions,
  names: readonly string[],
  log: Logger,
): Promise<Accounts | undefined> {
  if (ledger === undefined) {
    if (file !== undefined) throw new UsageError("--prices: expected --ledger beside it");
    return undefined;
  }
  const prices = file === undefined ? defaultPrices : await PriceBook.load(file);
  for (const name of names) prices.priceAt(name, Date.now());
  return new Accounts({ ledger: await Ledger.open(ledger), prices, log });
}

/** `daysix serve`: until SIGINT or SIGTERM, then live answers finish; or until the engine ends. */
export async function serve(options: ServeOptions): Promise<void> {
  const started = performance.now();
  const { server, engine, accounts, trace, url, names } = await startServing(options);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `DaySix serves ${names.join(", ")} at ${url}/v1  (ready in ${seconds} s)\n` +
      `  ${formatTopology(engine.topology)}${onNodes(engine)}, policy ${options.engine.policy}, ` +
      `${describeKernels(options.engine.threads)}, ` +
      `context ${engine.maxModelLen} tokens\n` +
      (options.engine.weights === "resident" ? `  ${describeResident()}\n` : "") +
      `  ${options.ledger === undefined ? "nothing is billed: no --ledger" : `bills in ${options.ledger}`}\n` +
      `  watch it at ${url}/\n` +
      `  try:  npx daysix chat    or    curl ${url}/v1/models`,
  );
  const fatal = await Promise.race([
    engine.fatal,
    new Promise<undefined>((done) => {
      process.once("SIGINT", () => done(undefined));
      process.once("SIGTERM", () => done(undefined));
    }),
  ]);
  if (fatal) {
    console.error(`daysix: the engine has ended: ${fatal.message}`);
    process.exitCode = 1;
  } else console.log("finishing live answers; a second signal ends at once");
  process.once("SIGINT", () => process.exit(130));
  process.once("SIGTERM", () => process.exit(143));
  await server.drain(DRAIN_MS);
  await accounts?.close();
  await engine.close();
  await trace?.close();
}

function describeKernels(threads = 1): string {
  const kernels = createKernels({ threads });
  if (kernels.name === "reference") return `reference kernels (${nativeProblem() ?? "as asked"})`;
  return `native kernels (${kernels.instructionSet})`;
}

function onNodes({ nodeOfRank }: Engine): string {
  const nodes = new Set(nodeOfRank).size;
  return nodes === 1 ? "" : ` on ${nodes} nodes`;
}

function urlOf(host: string, port: number): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

const generationConfig = z.looseObject({
  do_sample: z.boolean().nullish(),
  temperature: z.number().nullish(),
  top_p: z.number().nullish(),
});

/** What the checkpoint recommends, where a request says nothing. */
async function samplingDefaults(directory: string): Promise<SamplingDefaults> {
  const text = await readFile(join(directory, "generation_config.json"), "utf8").catch(() => "{}");
  const { data } = generationConfig.safeParse(JSON.parse(text));
  if (data?.do_sample === false) return { temperature: 0, topP: 1 };
  return { temperature: data?.temperature ?? 1, topP: data?.top_p ?? 1 };
}
