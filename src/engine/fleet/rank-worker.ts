import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { PeerLostError } from "../../cluster/index.ts";
import type { EngineLimits, EngineStats, RankCommand, RankQuestion } from "../messages.ts";
import { EngineError, type RankHandle, type RankListener } from "./rank-handle.ts";
import type { ThreadMessage, ThreadReport, WorkerOptions } from "./worker.ts";

interface Question {
  readonly resolve: (stats: EngineStats) => void;
  readonly reject: (error: Error) => void;
}

/** A rank's thread as its node's main thread sees it: commands in, reports out. */
export class RankWorker implements RankHandle {
  readonly limits: EngineLimits;
  /** Resolves when the thread has ended. */
  readonly ended: Promise<void>;
  readonly #worker: Worker;
  readonly #questions = new Map<number, Question>();
  #asked = 0;
  #ended: string | undefined;
  #isTerminated = false;

  /** Opens the model; rejects with what is wrong with it. */
  static async start(options: WorkerOptions, listener: RankListener): Promise<RankWorker> {
    const worker = new Worker(new URL("./worker.js", import.meta.url), {
      workerData: options,
      transferList: [options.place.endpoint.port],
    });
    const first = await firstReport(worker);
    const { rank } = options.place.endpoint;
    if (first.kind === "ready") return new RankWorker(worker, rank, first.limits, listener);
    await worker.terminate();
    throw new EngineError(first.kind === "refused" ? first.message : "unexpected first report");
  }

  private constructor(worker: Worker, rank: number, limits: EngineLimits, listener: RankListener) {
    this.#worker = worker;
    this.limits = limits;
    const end = (message: string, isOwnFault: boolean) => {
      if (this.#ended !== undefined) return;
      this.#ended = message;
      for (const { reject } of this.#questions.values()) reject(new EngineError(message));
      listener.lost(rank, message, isOwnFault);
    };
    worker.on("message", (report: ThreadReport) => {
      if (report.kind === "stats") this.#answer(report.number, report.stats);
      else if (report.kind === "news") listener.heard(rank, report.news);
    });
    worker.on("error", ({ name, message }) => end(message, name !== PeerLostError.name));
    this.ended = new Promise((resolve) => {
      worker.on("exit", () => {
        end("the engine's thread has ended", !this.#isTerminated);
        resolve();
      });
    });
  }

  tell(command: RankCommand): void {
    this.#post({ command });
  }

  async ask(question: RankQuestion): Promise<EngineStats> {
    if (this.#ended !== undefined) throw new EngineError(this.#ended);
    const number = this.#asked++;
    const answer = new Promise<EngineStats>((resolve, reject) => {
      this.#questions.set(number, { resolve, reject });
    });
    this.#post({ question, number });
    return answer;
  }

  #post(message: ThreadMessage): void {
    this.#worker.postMessage(message);
  }

  async terminate(): Promise<void> {
    this.#isTerminated = true;
    await this.#worker.terminate();
  }

  #answer(number: number, stats: EngineStats): void {
    this.#questions.get(number)?.resolve(stats);
    this.#questions.delete(number);
  }
}

/** The worker's first words; rejects if it ends without any. */
async function firstReport(worker: Worker): Promise<ThreadReport> {
  const given = new AbortController();
  const ended = once(worker, "exit", { signal: given.signal }).then(([code]) => {
    throw new EngineError(`the engine's thread ended with code ${code} before it was ready`);
  });
  try {
    const [report] = await Promise.race([once(worker, "message", { signal: given.signal }), ended]);
    return report as ThreadReport;
  } finally {
    ended.catch(() => undefined);
    given.abort();
  }
}
