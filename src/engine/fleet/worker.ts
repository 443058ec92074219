/** A rank's thread: where a rank's loop runs, and how its node's main thread speaks with it. */
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../../cluster/index.ts";
import { clockSince, SpanRecorder } from "../../trace/index.ts";
import type {
  EngineLimits,
  EngineStats,
  RankCommand,
  RankNews,
  RankQuestion,
} from "../messages.ts";
import { Rank, RankLoop, type RankOptions, type RankPort } from "../rank/index.ts";

const port = parentPort;
if (!port) throw new Error("a rank must run in a worker thread");

export interface WorkerOptions extends RankOptions {
  /** Records spans, whose times count from here: milliseconds of Unix time. */
  readonly traceEpochMs?: number;
}

/** What the thread is told: a command for its rank, or a question that it answers by number. */
export type ThreadMessage =
  | { readonly command: RankCommand }
  | { readonly question: RankQuestion; readonly number: number };

/** What a rank's thread says: first whether it is ready, then what its rank says. */
export type ThreadReport =
  | { readonly kind: "ready"; readonly limits: EngineLimits }
  | { readonly kind: "refused"; readonly message: string }
  | { readonly kind: "news"; readonly news: RankNews }
  | { readonly kind: "stats"; readonly number: number; readonly stats: EngineStats };

const report = (message: ThreadReport) => port.postMessage(message);

/** The rank's recorder where the engine was asked for a trace. */
function createRecorder({ traceEpochMs, place }: WorkerOptions): SpanRecorder | undefined {
  if (traceEpochMs === undefined) return undefined;
  return new SpanRecorder({
    node: place.node,
    rank: place.endpoint.rank,
    clock: clockSince(traceEpochMs),
  });
}

/** Ends the thread, and so is heard. */
function die(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}

function serve(rank: Rank, recorder?: SpanRecorder): void {
  const say = { say: (news) => report({ kind: "news", news }), die } satisfies RankPort;
  const loop = new RankLoop(rank, say, systemClock, recorder);
  port?.on("message", (message: ThreadMessage) => {
    if ("command" in message) loop.hear(message.command);
    else {
      const { number } = message;
      loop
        .answer(message.question)
        .then((stats) => report({ kind: "stats", number, stats }))
        .catch(die);
    }
  });
  report({ kind: "ready", limits: rank.core.limits });
  loop.start();
}

try {
  const options = workerData as WorkerOptions;
  const recorder = createRecorder(options);
  serve(await Rank.open(options, recorder), recorder);
} catch (error) {
  report({ kind: "refused", message: (error as Error).message });
}
