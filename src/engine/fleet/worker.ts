import { parentPort, workerData } from "node:worker_threads";
import { clockSince, SpanRecorder } from "../../trace/index.ts";
import type { EngineCommand, EngineQuestion, EngineReport } from "../messages.ts";
import { Rank, type RankOptions } from "../rank/index.ts";
import { UnheardReports } from "../rank/index.ts";

/** A rank's thread: commands in, one report per step out. */
const port = parentPort;
if (!port) throw new Error("a rank must run in a worker thread");

export interface WorkerOptions extends RankOptions {
  /** Records spans, whose times count from here: milliseconds of Unix time. */
  readonly traceEpochMs?: number;
}

const report = (message: EngineReport) => port.postMessage(message);
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** The rank's recorder where the engine was asked for a trace. */
function createRecorder({ traceEpochMs, place }: WorkerOptions): SpanRecorder | undefined {
  if (traceEpochMs === undefined) return undefined;
  return new SpanRecorder({
    node: place.node,
    rank: place.endpoint.rank,
    clock: clockSince(traceEpochMs),
  });
}

/** What cannot be told to a request ends the thread, and so is heard. */
function die(error: unknown): never {
  throw error;
}

function serve(rank: Rank, recorder?: SpanRecorder): void {
  const { core } = rank;
  let stepping = false;
  const unheard = new UnheardReports();
  const run = async () => {
    if (stepping) return;
    stepping = true;
    while (rank.joinsSteps || !core.idle) {
      const events = await core.step();
      // Before the events: after a request's last one nobody may be listening.
      if (recorder) report({ kind: "spans", spans: recorder.take() });
      if (events.length > 0) {
        report({ kind: "events", events, pagesInUse: core.stats.pagesInUse });
        unheard.sent();
      }
      await unheard.room();
      // Commands that arrived during the step are heard before the next one.
      await nextTurn();
    }
    stepping = false;
  };
  const start = () => void run().catch((error) => setImmediate(die, error));
  port?.on("message", (command: EngineCommand | EngineQuestion) => {
    switch (command.kind) {
      case "generate":
        core.submit(command.handle, command.request, command.decodeRank);
        break;
      case "expect":
        core.expect(command.handle, command.request, command.prefillRank);
        break;
      case "cancel":
        core.cancel(command.handle);
        break;
      case "heard":
        unheard.heard();
        return;
      case "place":
        rank.place(command.version, command.placement);
        break;
      default:
        void answer(rank, command);
    }
    start();
  });
  rank.listen(start).catch((error) => setImmediate(die, error));
  report({ kind: "ready", limits: core.limits });
  start();
}

async function answer({ core, traffic }: Rank, { kind, question }: EngineQuestion): Promise<void> {
  if (kind === "flush") await core.flush();
  report({ kind: "stats", question, stats: { ...core.stats, ...(traffic && { traffic }) } });
}

try {
  const options = workerData as WorkerOptions;
  const recorder = createRecorder(options);
  serve(await Rank.open(options, recorder), recorder);
} catch (error) {
  report({ kind: "refused", message: (error as Error).message });
}
