import { fileURLToPath } from "node:url";
import type { Logger } from "pino";
import { systemClock, type Clock } from "../cluster/index.ts";
import { Engine } from "../engine/index.ts";
import {
  Accounts,
  ContextCacheWatch,
  DashboardFiles,
  defaultPrices,
  Gateway,
  isLoopback,
  openTraces,
  Ledger,
  PriceBook,
  serveGateway,
  TextWorker,
  viewCluster,
} from "../gateway/index.ts";
import { present, UsageError } from "./arguments.ts";
import { keepBalanced } from "./auto-balance.ts";
import { FleetWatch } from "./fleet-watch.ts";
import { samplingDefaults } from "./generation-config.ts";
import { greet, kernelsOf, urlOf } from "./greeting.ts";
import { boundHeaps } from "./heap-bounds.ts";
import { modelNameOf } from "./model-folder.ts";
import { openKeyring } from "./keyring.ts";
import { keepToLoad } from "./scale-policy.ts";
import { keepSchedule } from "./scale-schedule.ts";
import type { ServeOptions, Serving } from "./serving.ts";
import { runUntilStopped, type Shutdown } from "./shutdown.ts";
import { createTrace } from "./trace.ts";

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
  traces: 5000,
  watch: 5000,
} as const;

/** Loads a model and listens, until `shutdown` closes what was opened. */
export async function startServing(options: ServeOptions, shutdown: Shutdown): Promise<Serving> {
  const { maxModelLen, host, port, log } = options;
  const directory = options.engine.modelDirectory;
  const names = options.servedNames ?? [modelNameOf(directory)];
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
  const traces =
    options.otlp === undefined ? undefined : await openRequestTraces(options.otlp, log);
  shutdown.opened({
    name: "OpenTelemetry's traces",
    withinMs: CLOSE_MS.traces,
    close: async () => traces?.close(),
  });
  const trace = await createTrace(options.trace);
  shutdown.opened({
    name: "the trace",
    withinMs: CLOSE_MS.trace,
    close: async () => trace?.close(),
  });
  let fleet: FleetWatch | undefined;
  const engine = await Engine.start(
    {
      ...options.engine,
      usableTokens: text.vocabulary.vocabSize,
      ...(maxModelLen === undefined ? {} : { maxModelLen }),
    },
    {
      trace,
      lost: (rank, reason) => log.error({ rank, reason }, "a rank is lost"),
      silent: (rank) => log.warn({ rank }, "a rank does not answer; its last counts are told"),
      changed: () => fleet?.look(),
      scaled: ({ role, from, to, because }) =>
        log.info({ role, from, to, because }, `scale: ${role} ${from}→${to}, because ${because}`),
      moved: (requests, reason) => log.warn({ requests, reason }, "requests go on elsewhere"),
    },
  );
  shutdown.opened({
    name: "the engine",
    withinMs: CLOSE_MS.engine,
    close: () => engine.close(),
  });
  if (options.engine.contextCache) {
    const stop = watchContextCache(engine, log, options.clock ?? systemClock);
    shutdown.opened({ name: "its watch", withinMs: CLOSE_MS.watch, close: async () => stop() });
  }
  if (options.balancesItself === true) keepBalanced(engine, log);
  if (options.schedule) keepSchedule(engine, options.schedule);
  if (options.scalePolicy) keepToLoad(engine, options.scalePolicy, log);
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
    ...present({ accounts, traces, reasoningField }),
    build: {
      policy: options.engine.policy,
      instruction_set: kernelsOf(options.engine.threads),
    },
    keyring: await openKeyring(options),
  });
  fleet = new FleetWatch(engine, log, accounts);
  await fleet.begin();
  const server = await serveGateway(gateway, { host, port });
  shutdown.opened({
    name: "the server",
    withinMs: CLOSE_MS.server,
    close: () => server.drain(DRAIN_MS),
  });
  return { engine, names, url: urlOf(host, server.address.port) };
}

function openRequestTraces(url: string, log: Logger) {
  return openTraces(url, {
    onTrouble: (reason) => log.warn({ url, reason }, "traces of requests are lost"),
  });
}

/** Milliseconds between two looks at the ranks' context caches. */
const WATCH_MS = 5000;

/** Returns what ends it. */
function watchContextCache(engine: Engine, log: Logger, clock: Clock): () => void {
  const watch = new ContextCacheWatch(log);
  let isOver = false;
  let cancel = () => {};
  const lookLater = () => {
    cancel = clock.after(WATCH_MS, async () => {
      // An engine that has ended says so itself.
      const stats = await engine.rankStats().catch(() => []);
      watch.look(stats);
      if (!isOver) lookLater();
    });
  };
  lookLater();
  return () => {
    isOver = true;
    cancel();
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
    greet(options, serving, performance.now() - started);
    const { message } = await serving.engine.fatal;
    throw new Error(`the engine has ended: ${message}`);
  });
}
