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
  /** Resolves when the thread has ended. */
  readonly ended: Promise<unknown>;
  readonly #rank: number;
  readonly #listener: RankListener;
  readonly #worker: Worker;
  readonly #questions = new Map<number, Question>();
  #limits: EngineLimits | undefined;
  #asked = 0;
  #ended: string | undefined;
  #isTerminated = false;

  constructor(options: WorkerOptions, listener: RankListener) {
    const { endpoint } = options.place;
    this.#rank = endpoint.rank;
    this.#listener = listener;
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), {
      workerData: options,
      transferList: [endpoint.port],
    });
    this.ended = new Promise((resolve) => this.#worker.once("exit", resolve));
  }

  /** Opens the model; rejects with what is wrong with it. Until then the listener hears nothing. */
  async open(): Promise<EngineLimits> {
    const worker = this.#worker;
    const first = await firstReport(worker);
    if (first.kind !== "ready") {
      await worker.terminate();
      throw new EngineError(first.kind === "refused" ? first.message : "unexpected first report");
    }
    this.#limits = first.limits;
    worker.on("message", (report: ThreadReport) => {
      if (report.kind === "stats") this.#answer(report.number, report.stats);
      else if (report.kind === "news") this.#listener.heard(this.#rank, report.news);
    });
    worker.on("error", ({ name, message }) => this.#end(message, name !== PeerLostError.name));
    worker.on("exit", () => this.#end("the engine's thread has ended", !this.#isTerminated));
    return first.limits;
  }

  get isOpen(): boolean {
    return this.#limits !== undefined;
  }

  /** Of one that is open. */
  get limits(): EngineLimits {
    return this.#limits as EngineLimits;
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

  #end(message: string, isOwnFault: boolean): void {
    if (this.#ended !== undefined) return;
    this.#ended = message;
    for (const { reject } of this.#questions.values()) reject(new EngineError(message));
    this.#listener.lost(this.#rank, message, isOwnFault);
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
