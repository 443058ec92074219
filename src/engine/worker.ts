import { parentPort, workerData } from "node:worker_threads";
import { createReferenceKernels, PAGE_TOKENS } from "../kernels/index.ts";
import { DirectoryBlobStore } from "../kv-cache/index.ts";
import { loadModel, numericIdentity } from "../model/index.ts";
import type { EngineOptions } from "./client.ts";
import { EngineCore } from "./core.ts";
import type { EngineCommand, EngineReport } from "./messages.ts";

/** The engine's thread: commands in, one report per step out. */
const port = parentPort;
if (!port) throw new Error("the engine's worker must run in a worker thread");

const report = (message: EngineReport) => port.postMessage(message);
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

async function createCore(options: EngineOptions): Promise<EngineCore> {
  const { modelDirectory, policy, kvMemoryBytes, chunkRows, contextCache, ...limits } = options;
  if (!Number.isInteger(chunkRows) || chunkRows < 1) {
    throw new RangeError(`chunkRows: expected a positive whole number, got ${chunkRows}`);
  }
  const kernels = createReferenceKernels();
  const model = await loadModel(modelDirectory, { kernels, policy, maxRows: chunkRows });
  const pages = Math.floor(kvMemoryBytes / (model.kvBytesPerToken * PAGE_TOKENS));
  if (!(pages >= 1)) {
    const least = model.kvBytesPerToken * PAGE_TOKENS;
    throw new RangeError(
      `kvMemoryBytes: expected at least ${least} for one page, got ${kvMemoryBytes}`,
    );
  }
  if (!contextCache) return new EngineCore({ ...limits, model, pages });
  const store = await DirectoryBlobStore.open(contextCache.directory, contextCache.limits);
  const identity = await numericIdentity(modelDirectory, { kernels, policy });
  return new EngineCore({ ...limits, model, pages, contextCache: { store, identity } });
}

function serve(core: EngineCore): void {
  let stepping = false;
  const run = async () => {
    stepping = true;
    while (!core.idle) {
      const events = await core.step();
      if (events.length > 0) report({ kind: "events", events });
      // Commands that arrived during the step are heard before the next one.
      await nextTurn();
    }
    stepping = false;
  };
  port?.on("message", (command: EngineCommand) => {
    if (command.kind === "generate") core.submit(command.handle, command.request);
    else if (command.kind === "cancel") core.cancel(command.handle);
    else void answer(core, command);
    if (!stepping) void run();
  });
  report({ kind: "ready", limits: core.limits });
}

async function answer(
  core: EngineCore,
  { kind, question }: Extract<EngineCommand, { question: number }>,
): Promise<void> {
  if (kind === "flush") await core.flush();
  report({ kind: "stats", question, stats: core.stats });
}

try {
  serve(await createCore(workerData as EngineOptions));
} catch (error) {
  report({ kind: "refused", message: (error as Error).message });
}
