import { once, setMaxListeners } from "node:events";
import { setTimeout } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { Policy } from "../kernels/index.ts";
import type { StoreLimits } from "../kv-cache/index.ts";
import type {
  EngineCommand,
  EngineLimits,
  EngineReport,
  EngineStats,
  GenerationEvent,
  GenerationRequest,
} from "./messages.ts";

export interface EngineOptions {
  readonly modelDirectory: string;
  readonly policy: Policy;
  /** Memory for the KV pool; the model's context ends where the pool does. */
  readonly kvMemoryBytes: number;
  /** At most what the model and the pool allow. */
  readonly maxModelLen?: number;
  /** Rows of a step: what decode leaves of it goes to prompt chunks. */
  readonly chunkRows: number;
  /** Tokens from here on are never generated: rows of the vocabulary that no token uses. */
  readonly usableTokens?: number;
  /** A directory, which others may share, for the blocks that outlive the pool. */
  readonly contextCache?: { readonly directory: string; readonly limits: StoreLimits };
}

export const defaultChunkRows = 256;

/** Time that closing leaves for blocks not yet in the context cache. */
const FLUSH_MS = 10_000;

/** The engine's worker thread could not start, or has ended. */
export class EngineError extends Error {
  override readonly name = "EngineError";
}

/** An engine in a thread of its own. The caller's thread only passes messages. */
export class Engine {
  readonly maxModelLen: number;
  readonly vocabSize: number;
  readonly eosTokens: readonly number[];
  readonly #worker: Worker;
  readonly #requests = new Map<number, EventQueue>();
  readonly #questions = new Map<number, Deferred<EngineStats>>();
  readonly #fatal = deferred<EngineError>();
  readonly #keepsBlocks: boolean;
  #nextHandle = 0;
  #ended: string | undefined;
  #closing = false;

  /** Opens the model; rejects with what is wrong with it. */
  static async start(
    options: Omit<EngineOptions, "chunkRows"> & { readonly chunkRows?: number },
  ): Promise<Engine> {
    const workerData: EngineOptions = { chunkRows: defaultChunkRows, ...options };
    const worker = new Worker(new URL("./worker.js", import.meta.url), { workerData });
    const first = await firstReport(worker);
    if (first.kind === "ready") {
      return new Engine(worker, first.limits, options.contextCache !== undefined);
    }
    await worker.terminate();
    throw new EngineError(first.kind === "refused" ? first.message : "unexpected first report");
  }

  private constructor(worker: Worker, limits: EngineLimits, keepsBlocks: boolean) {
    this.#worker = worker;
    this.#keepsBlocks = keepsBlocks;
    this.maxModelLen = limits.maxModelLen;
    this.vocabSize = limits.vocabSize;
    this.eosTokens = limits.eosTokens;
    worker.on("message", (report: EngineReport) => this.#hear(report));
    worker.on("error", (error) => this.#end(error.message));
    worker.on("exit", () => this.#end("the engine's thread has ended"));
  }

  /** Why the engine ended, if it has. */
  get ended(): string | undefined {
    return this.#ended;
  }

  /** Resolves when the engine's thread dies without having been closed. */
  get fatal(): Promise<EngineError> {
    return this.#fatal.promise;
  }

  /**
   * Events of one sequence, ending with `finished` or `failed`. Leaving the loop or aborting the
   * signal cancels the request; an aborted one ends without a last event.
   */
  async *generate(
    request: GenerationRequest,
    signal?: AbortSignal,
  ): AsyncGenerator<GenerationEvent, void, undefined> {
    if (signal?.aborted) return;
    const handle = this.#nextHandle++;
    const queue = new EventQueue();
    let live = true;
    const cancel = () => {
      queue.close();
      if (live) this.#tell({ kind: "cancel", handle });
      live = false;
    };
    // The choices of a request share its signal: many listeners are no leak.
    if (signal) setMaxListeners(0, signal);
    signal?.addEventListener("abort", cancel, { once: true });
    this.#requests.set(handle, queue);
    try {
      if (this.#ended === undefined) this.#tell({ kind: "generate", handle, request });
      else queue.push({ kind: "failed", code: "engine_ended", message: this.#ended });
      for (;;) {
        const event = await queue.next();
        if (!event) return;
        live = event.kind !== "finished" && event.kind !== "failed";
        yield event;
        if (!live) return;
      }
    } finally {
      signal?.removeEventListener("abort", cancel);
      this.#requests.delete(handle);
      cancel();
    }
  }

  async stats(): Promise<EngineStats> {
    return this.#ask("stats");
  }

  /** Ends the thread; what is still live fails. */
  async close(): Promise<void> {
    this.#closing = true;
    if (this.#keepsBlocks) {
      const flushed = this.#ask("flush").catch(() => undefined);
      await Promise.race([flushed, setTimeout(FLUSH_MS, undefined, { ref: false })]);
    }
    await this.#worker.terminate();
  }

  async #ask(kind: "stats" | "flush"): Promise<EngineStats> {
    if (this.#ended !== undefined) throw new EngineError(this.#ended);
    const question = this.#nextHandle++;
    const answer = deferred<EngineStats>();
    this.#questions.set(question, answer);
    this.#tell({ kind, question });
    return answer.promise;
  }

  #tell(command: EngineCommand): void {
    this.#worker.postMessage(command);
  }

  #hear(report: EngineReport): void {
    if (report.kind === "events") {
      for (const { handle, event } of report.events) this.#requests.get(handle)?.push(event);
    } else if (report.kind === "stats") {
      this.#questions.get(report.question)?.resolve(report.stats);
      this.#questions.delete(report.question);
    }
  }

  /** Nobody waits for a thread that is gone. */
  #end(message: string): void {
    this.#ended ??= message;
    for (const queue of this.#requests.values()) {
      queue.push({ kind: "failed", code: "engine_ended", message: this.#ended });
    }
    for (const answer of this.#questions.values()) answer.reject(new EngineError(this.#ended));
    this.#questions.clear();
    if (!this.#closing) this.#fatal.resolve(new EngineError(this.#ended));
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

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

function deferred<T>(): Deferred<T> {
  let resolve!: Deferred<T>["resolve"];
  let reject!: Deferred<T>["reject"];
  const promise = new Promise<T>((fulfil, refuse) => {
    resolve = fulfil;
    reject = refuse;
  });
  return { promise, resolve, reject };
}

/** Events in order, for one reader. */
class EventQueue {
  readonly #events: GenerationEvent[] = [];
  #closed = false;
  #wake: (() => void) | undefined;

  push(event: GenerationEvent): void {
    this.#events.push(event);
    this.#wake?.();
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  /** The next event, or undefined once closed. */
  async next(): Promise<GenerationEvent | undefined> {
    while (!this.#closed) {
      const event = this.#events.shift();
      if (event) return event;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return undefined;
  }
}
