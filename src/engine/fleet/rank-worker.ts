import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type {
  EngineCommand,
  EngineLimits,
  EngineQuestion,
  EngineReport,
  EngineStats,
  RankNews,
} from "../messages.ts";
import type { WorkerOptions } from "./worker.ts";

/** A rank's worker thread could not start, or has ended. */
export class EngineError extends Error {
  override readonly name = "EngineError";
}

interface Question {
  readonly resolve: (stats: EngineStats) => void;
  readonly reject: (error: Error) => void;
}

export interface RankListener {
  readonly onNews: (news: RankNews) => void;
  /** Told once, however the thread ends. */
  readonly onEnd: (message: string) => void;
}

/** A rank's thread as its node's main thread sees it: commands in, reports out. */
export class RankWorker {
  readonly limits: EngineLimits;
  readonly #worker: Worker;
  readonly #questions = new Map<number, Question>();
  #asked = 0;
  #ended: string | undefined;

  /** Opens the model; rejects with what is wrong with it. */
  static async start(options: WorkerOptions, listener: RankListener): Promise<RankWorker> {
    const worker = new Worker(new URL("./worker.js", import.meta.url), {
      workerData: options,
      transferList: [options.place.endpoint.port],
    });
    const first = await firstReport(worker);
    if (first.kind === "ready") return new RankWorker(worker, first.limits, listener);
    await worker.terminate();
    throw new EngineError(first.kind === "refused" ? first.message : "unexpected first report");
  }

  private constructor(worker: Worker, limits: EngineLimits, { onNews, onEnd }: RankListener) {
    this.#worker = worker;
    this.limits = limits;
    const end = (message: string) => {
      if (this.#ended !== undefined) return;
      this.#ended = message;
      for (const { reject } of this.#questions.values()) reject(new EngineError(message));
      onEnd(message);
    };
    worker.on("message", (report: EngineReport) => {
      if (report.kind === "stats") this.#answer(report.question, report.stats);
      else if (report.kind === "events" || report.kind === "spans") onNews(report);
    });
    worker.on("error", (error) => end(error.message));
    worker.on("exit", () => end("the engine's thread has ended"));
  }

  tell(command: EngineCommand): void {
    this.#worker.postMessage(command);
  }

  stats(): Promise<EngineStats> {
    return this.#ask("stats");
  }

  /** Resolves when the context cache has written what was computed so far. */
  async flush(): Promise<void> {
    await this.#ask("flush");
  }

  async #ask(kind: EngineQuestion["kind"]): Promise<EngineStats> {
    if (this.#ended !== undefined) throw new EngineError(this.#ended);
    const question = this.#asked++;
    const answer = new Promise<EngineStats>((resolve, reject) => {
      this.#questions.set(question, { resolve, reject });
    });
    const asked: EngineQuestion = { kind, question };
    this.#worker.postMessage(asked);
    return answer;
  }

  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  #answer(question: number, stats: EngineStats): void {
    this.#questions.get(question)?.resolve(stats);
    this.#questions.delete(question);
  }
}

/** The worker's first words; rejects if it ends without any. */
async function firstReport(worker: Worker): Promise<EngineReport> {
  const given = new AbortController();
  const ended = once(worker, "exit", { signal: given.signal }).then(([code]) => {
    throw new EngineError(`the engine's thread ended with code ${code} before it was ready`);
  });
  try {
    const [report] = await Promise.race([once(worker, "message", { signal: given.signal }), ended]);
    return report as EngineReport;
  } finally {
    ended.catch(() => undefined);
    given.abort();
  }
}
