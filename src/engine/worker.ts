import { parentPort, workerData } from "node:worker_threads";
import { createReferenceKernels, PAGE_TOKENS } from "../kernels/index.ts";
import { loadModel } from "../model/index.ts";
import { clockSince, SpanRecorder } from "../trace/index.ts";
import type { EngineOptions } from "./client.ts";
import { EngineCore } from "./core.ts";
import type { EngineCommand, EngineReport } from "./messages.ts";

/** The engine's thread: commands in, one report per step out. */
const port = parentPort;
if (!port) throw new Error("the engine's worker must run in a worker thread");

const report = (message: EngineReport) => port.postMessage(message);
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** The rank's recorder where the engine was asked for a trace. */
function createRecorder({ traceEpochMs }: EngineOptions): SpanRecorder | undefined {
  if (traceEpochMs === undefined) return undefined;
  return new SpanRecorder({ node: 0, rank: 0, clock: clockSince(traceEpochMs) });
}

async function createCore(options: EngineOptions, tracer?: SpanRecorder): Promise<EngineCore> {
  const { modelDirectory, policy, kvMemoryBytes, chunkRows } = options;
  if (!Number.isInteger(chunkRows) || chunkRows < 1) {
    throw new RangeError(`chunkRows: expected a positive whole number, got ${chunkRows}`);
  }
  const kernels = createReferenceKernels();
  const model = await loadModel(modelDirectory, {
    kernels,
    policy,
    maxRows: chunkRows,
    ...(tracer && { tracer }),
  });
  const pages = Math.floor(kvMemoryBytes / (model.kvBytesPerToken * PAGE_TOKENS));
  if (!(pages >= 1)) {
    const least = model.kvBytesPerToken * PAGE_TOKENS;
    throw new RangeError(
      `kvMemoryBytes: expected at least ${least} for one page, got ${kvMemoryBytes}`,
    );
  }
  return new EngineCore({ ...options, model, pages });
}

function serve(core: EngineCore, recorder?: SpanRecorder): void {
  let stepping = false;
  const run = async () => {
    stepping = true;
    while (!core.idle) {
      const events = await core.step();
      // Before the events: after a request's last one nobody may be listening.
      if (recorder) report({ kind: "spans", spans: recorder.take() });
      if (events.length > 0) report({ kind: "events", events });
      // Commands that arrived during the step are heard before the next one.
      await nextTurn();
    }
    stepping = false;
  };
  port?.on("message", (command: EngineCommand) => {
    if (command.kind === "generate") core.submit(command.handle, command.request);
    else if (command.kind === "cancel") core.cancel(command.handle);
    else report({ kind: "stats", question: command.question, stats: core.stats });
    if (!stepping) void run();
  });
  report({ kind: "ready", limits: core.limits });
}

try {
  const options = workerData as EngineOptions;
  const recorder = createRecorder(options);
  serve(await createCore(options, recorder), recorder);
} catch (error) {
  report({ kind: "refused", message: (error as Error).message });
}
