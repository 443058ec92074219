import { fileURLToPath } from "node:url";
import type { Logger } from "pino";
import { systemClock } from "../cluster/index.ts";
import { boundHeaps, expectEngines } from "../engine/index.ts";
import {
  Accounts,
  DashboardFiles,
  defaultPrices,
  Gateway,
  isLoopback,
  openTraces,
  Ledger,
  PriceBook,
  serveGateway,
  TextWorker,
} from "../gateway/index.ts";
import { present, UsageError } from "./arguments.ts";
import { behindOneDoor } from "./common-door.ts";
import { FleetRecord } from "./fleet-record.ts";
import { greet, urlOf } from "./greeting.ts";
import { modelNameOf } from "./model-folder.ts";
import { openKeyring } from "./keyring.ts";
import { ofModel } from "./named-models.ts";
import type { ModelOptions, ServeOptions, Serving, ServingModel } from "./serving.ts";
import { runUntilStopped, type Shutdown } from "./shutdown.ts";
import { partsOf, startModel, type Surroundings } from "./start-model.ts";
import { createTrace } from "./trace.ts";
import { watchContextCache } from "./watch-context-cache.ts";

const dashboardDirectory = fileURLToPath(new URL("../dashboard", import.meta.url));

/** Time that live answers have after a signal. */
export const DRAIN_MS = 30_000;
/** Time that each part has to close: the engine's blocks may still have to reach a slow disk. */
const CLOSE_MS = {
  server: DRAIN_MS + 5000,
  engine: 15_000,
  door: 1000,
  trace: 5000,
  text: 5000,
  ledger: 5000,
  traces: 5000,
  watch: 5000,
} as const;

/** Loads the models and listens, until `shutdown` closes what was opened. */
export async function startServing(options: ServeOptions, shutdown: Shutdown): Promise<Serving> {
  const { host, port, log, balancesItself = false } = options;
  const names = options.models.map(namesOf);
  const accounts = await openAccounts(options, names.flat(), log);
  shutdown.opened({
    name: "the ledger",
    withinMs: CLOSE_MS.ledger,
    close: async () => accounts?.close(),
  });
  const texts = await startTexts(options.models, shutdown);
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
  let record: FleetRecord | undefined;
  const changed = () => {
    record?.look().catch((error: Error) => log.error(error));
  };
  const beginnings = options.models.map((model, index) => {
    const [name] = names[index];
    const own = options.models.length === 1 ? log : log.child({ model: name });
    return { model, names: names[index], text: texts[index], log: own };
  });
  const models = await startEngines(beginnings, { balancesItself, trace, changed }, shutdown);
  for (const { engine, log: own, options: asked } of models) {
    if (!asked.contextCache) continue;
    const stop = watchContextCache(engine, own, options.clock ?? systemClock);
    shutdown.opened({ name: "its watch", withinMs: CLOSE_MS.watch, close: async () => stop() });
  }
  const gateway = new Gateway({
    models: await Promise.all(models.map(partsOf)),
    listensLocally: isLoopback(host),
    ...options.edge,
    log,
    dashboard: await DashboardFiles.load(dashboardDirectory),
    ...present({ accounts, traces, reasoningField: options.reasoningField }),
    keyring: await openKeyring(options),
  });
  if (accounts) {
    record = new FleetRecord(
      models.map(({ engine }) => engine),
      accounts,
    );
    await record.look();
  }
  const server = await serveGateway(gateway, { host, port });
  shutdown.opened({
    name: "the server",
    withinMs: CLOSE_MS.server,
    close: () => server.drain(DRAIN_MS),
  });
  return { models, url: urlOf(host, server.address.port) };
}

const namesOf = ({ names, engine }: ModelOptions) => names ?? [modelNameOf(engine.modelDirectory)];

interface Beginning extends Pick<Surroundings, "names" | "text" | "log"> {
  readonly model: ModelOptions;
}

/** At once, since nodes that join do so for all models. @throws what is wrong with one, and which it is */
async function startEngines(
  beginnings: readonly Beginning[],
  common: Pick<Surroundings, "balancesItself" | "trace" | "changed">,
  shutdown: Shutdown,
): Promise<ServingModel[]> {
  const { engines, door } = await behindOneDoor(
    beginnings.map(({ model, names: [name] }) => ({ engine: model.engine, name })),
  );
  shutdown.opened({
    name: "the nodes' port",
    withinMs: CLOSE_MS.door,
    close: async () => door?.close(),
  });
  const started: ServingModel[] = [];
  shutdown.opened({
    name: "the engine",
    withinMs: CLOSE_MS.engine,
    close: () => Promise.all(started.map(({ engine }) => engine.close())),
  });
  await expectEngines(engines);
  return Promise.all(
    beginnings.map(async ({ model, ...own }, index) => {
      const [name] = own.names;
      const otherRanks = () => ranksOf(started.filter(({ names }) => names[0] !== name));
      const surroundings = { ...own, ...common, otherRanks };
      const starting = startModel({ ...model, engine: engines[index] }, surroundings);
      const serving = await (beginnings.length === 1 ? starting : ofModel(name, starting));
      started.push(serving);
      return serving;
    }),
  );
}

/** On this machine. */
const ranksOf = (models: readonly ServingModel[]) =>
  models.reduce((sum, { engine, options }) => {
    const here = engine.nodeOfRank.filter((node) => node === 0).length;
    return sum + (options.nodes?.await ? here : engine.topology.ranks);
  }, 0);

/** Of each model. */
function startTexts(models: readonly ModelOptions[], shutdown: Shutdown): Promise<TextWorker[]> {
  const starting = models.map(({ engine, chatTemplate }) =>
    TextWorker.start(engine.modelDirectory, present({ chatTemplate })),
  );
  shutdown.opened({
    name: "the text worker",
    withinMs: CLOSE_MS.text,
    close: async () => {
      for (const text of await Promise.allSettled(starting)) {
        if (text.status === "fulfilled") await text.value.close();
      }
    },
  });
  return Promise.all(starting);
}

function openRequestTraces(url: string, log: Logger) {
  return openTraces(url, {
    onTrouble: (reason) => log.warn({ url, reason }, "traces of requests are lost"),
  });
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

/** `daysix serve`: until a signal, then live answers finish; or until the engines of all models have ended. */
export function serve(options: ServeOptions): Promise<never> {
  boundHeaps();
  return runUntilStopped(async (shutdown) => {
    const started = performance.now();
    const serving = await startServing(options, shutdown);
    greet(options, serving, performance.now() - started);
    throw new Error(`the engine has ended: ${await endOf(serving.models)}`);
  });
}

/** Resolves when no model can answer any more, with why. A model that ends leaves the others serving. */
async function endOf(models: readonly ServingModel[]): Promise<string> {
  const reasons = models.map(async ({ engine, log }) => {
    const { message } = await engine.fatal;
    if (models.length > 1) log.error({ reason: message }, "the model's engine has ended");
    return message;
  });
  return (await Promise.all(reasons)).join("; ");
}
