import { fileURLToPath } from "node:url";
import { pino, type Logger } from "pino";
import { formatTopology, type UnitRole } from "../cluster/index.ts";
import { Engine, type EngineOptions } from "../engine/index.ts";
import {
  Accounts,
  ContextCacheWatch,
  DashboardFiles,
  defaultPrices,
  Gateway,
  type GatewayOptions,
  isLoopback,
  Ledger,
  PriceBook,
  type ReasoningField,
  serveGateway,
  TextWorker,
  viewCluster,
} from "../gateway/index.ts";
import { createKernels, nativeProblem } from "../kernels/index.ts";
import { UsageError } from "./arguments.ts";
import { samplingDefaults } from "./generation-config.ts";
import { boundHeaps } from "./heap-bounds.ts";
import { modelNameOf } from "./model-folder.ts";
import { openKeyring } from "./keyring.ts";
import { runUntilStopped, type Shutdown } from "./shutdown.ts";
import { createTrace } from "./trace.ts";
import { describeResident } from "./weights.ts";

export interface ServeOptions {
  readonly engine: EngineOptions;
  readonly host: string;
  readonly port: number;
  readonly apiKey?: string;
  /** File of keys that have names and limits. */
  readonly keysFile?: string;
  /** What is decided of requests before they are read. */
  readonly edge?: Pick<GatewayOptions, "allowedHosts" | "allowedOrigins" | "strict">;
  /** The folder's name where none is given. */
  readonly servedNames?: readonly string[];
  readonly maxModelLen?: number;
  /** File of a chat template, instead of the checkpoint's own. */
  readonly chatTemplate?: string;
  readonly reasoningField?: ReasoningField;
  /** File that requests are billed in. */
  readonly ledger?: string;
  /** File of the prices; the built-in ones where none is given. */
  readonly prices?: string;
  /** Level of the log on stderr. */
  readonly logLevel: string;
  /** File for a trace, from the start until the server ends. */
  readonly trace?: string;
}

interface Serving {
  readonly engine: Engine;
  readonly url: string;
  readonly names: readonly string[];
}

const dashboardDirectory = fileURLToPath(new URL("../dashboard", import.meta.url));

/** Time that live answers have after a signal. */
export const DRAIN_MS = 30_000;
/** Time that each part has to close: the engine's blocks may still have to reach a slow disk. */
const CLOSE_MS = {
  server: DRAIN_MS + 5000,
  engine: 15_000,
  trace: 5000,
  text: 5000,
  ledger: 5000,
} as const;

/** Loads a model and listens, until `shutdown` closes what was opened. */
export async function startServing(options: ServeOptions, shutdown: Shutdown): Promise<Serving> {
  const { maxModelLen, host, port } = options;
  const directory = options.engine.modelDirectory;
  const names = options.servedNames ?? [modelNameOf(directory)];
  const log = pino({ level: options.logLevel }, pino.destination(2));
  const accounts = await openAccounts(options, names, log);
  shutdown.opened({
    name: "the ledger",
    withinMs: CLOSE_MS.ledger,
    close: async () => accounts?.close(),
  });
  const { chatTemplate, reasoningField } = options;
  const text = await TextWorker.start(
    directory,
    chatTemplate === undefined ? {} : { chatTemplate },
  );
  shutdown.opened({
    name: "the text worker",
    withinMs: CLOSE_MS.text,
    close: () => text.close(),
  });
  const trace = await createTrace(options.trace);
  shutdown.opened({
    name: "the trace",
    withinMs: CLOSE_MS.trace,
    close: async () => trace?.close(),
  });
  const engine = await Engine.start(
    {
      ...options.engine,
      usableTokens: text.vocabulary.vocabSize,
      ...(maxModelLen === undefined ? {} : { maxModelLen }),
    },
    {
      trace,
      lost: (rank, reason) => {
        log.error({ rank, reason }, "a rank is lost");
        accounts?.setTopology(fleetOf(engine)).catch((error: Error) => log.error(error));
      },
      moved: (requests, reason) => log.warn({ requests, reason }, "requests go on elsewhere"),
    },
  );
  shutdown.opened({
    name: "the engine",
    withinMs: CLOSE_MS.engine,
    close: () => engine.close(),
  });
  if (options.engine.contextCache) watchContextCache(engine, log);
  const gateway = new Gateway({
    engine,
    text,
    servedNames: names,
    sampling: await samplingDefaults(directory, log),
    listensLocally: isLoopback(host),
    ...options.edge,
    log,
    cluster: await viewCluster(engine, directory),
    dashboard: await DashboardFiles.load(dashboardDirectory),
    ...(accounts ? { accounts } : {}),
    keyring: await openKeyring(options),
    ...(reasoningField === undefined ? {} : { reasoningField }),
  });
  await accounts?.setTopology(fleetOf(engine));
  const server = await serveGateway(gateway, { host, port });
  shutdown.opened({
    name: "the server",
    withinMs: CLOSE_MS.server,
    close: () => server.drain(DRAIN_MS),
  });
  return { engine, names, url: urlOf(host, server.address.port) };
}

/** Milliseconds between two looks at the ranks' context caches. */
const WATCH_MS = 5000;

function watchContextCache(engine: Engine, log: Logger): void {
  const watch = new ContextCacheWatch(log);
  const look = async () => watch.look(await engine.rankStats());
  // An engine that has ended says so itself.
  setInterval(() => void look().catch(() => undefined), WATCH_MS).unref();
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

/** `daysix serve`: until a signal, then live answers finish; or until the engine ends. */
export function serve(options: ServeOptions): Promise<never> {
  boundHeaps();
  return runUntilStopped(async (shutdown) => {
    const started = performance.now();
    const serving = await startServing(options, shutdown);
    console.log(greeting(options, serving, performance.now() - started));
    const { message } = await serving.engine.fatal;
    throw new Error(`the engine has ended: ${message}`);
  });
}

function greeting(options: ServeOptions, { engine, url, names }: Serving, startMs: number): string {
  const { weights, policy, threads } = options.engine;
  const limitedBy = engine.limitedBy ? ` (${engine.limitedBy})` : "";
  return (
    `DaySix serves ${names.join(", ")} at ${url}/v1  (ready in ${(startMs / 1000).toFixed(1)} s)\n` +
    `  ${formatTopology(engine.topology)}${onNodes(engine)}, policy ${policy}, ` +
    `${describeKernels(threads)}, ` +
    `context ${engine.maxModelLen} tokens${limitedBy}\n` +
    (weights === "resident" ? `  ${describeResident()}\n` : "") +
    `  ${options.ledger === undefined ? "nothing is billed: no --ledger" : `bills in ${options.ledger}`}\n` +
    `  watch it at ${url}/\n` +
    `  try:  npx daysix chat    or    curl ${url}/v1/models`
  );
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
