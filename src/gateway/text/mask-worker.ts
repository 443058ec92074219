import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type Clock, systemClock } from "../../cluster/index.ts";
import type { GrammarSource, Thinking } from "../../model/index.ts";
import { ApiError } from "../errors.ts";
import type { MaskReport, MaskStart, MaskTask } from "./mask-messages.ts";

/** Grammars are bounded by what they may cost; this is for all that are in use. */
const HEAP_MB = 1024;

interface Waiting {
  readonly resolve: (mask: Uint32Array) => void;
  readonly reject: (error: Error) => void;
  readonly cancelTimer: () => void;
}

/** What may come in one answer. */
export interface Constraint {
  /** A bit for each token that may come first. */
  readonly first: Uint32Array;
  /** What may come after a token; undefined after one that ends the answer. */
  next(token: number): Promise<Uint32Array | undefined>;
  close(): void;
}

interface MaskWorkerOptions {
  readonly clock: Clock;
  /** For one task, those before it included. */
  readonly taskLimitMs: number;
}

/**
 * Says which tokens may come in constrained answers. Schemas and grammars of clients are followed in a
 * process of its own, which starts with the first of them. If it ends, the answers it followed fail.
 */
export class MaskWorker {
  readonly #start: MaskStart;
  readonly #options: MaskWorkerOptions;
  #child: ChildProcess | undefined;
  /** By task. */
  readonly #waiting = new Map<number, Waiting>();
  #tasks = 0;
  /** Of this turn of the event loop; they travel together. */
  #unsent: MaskTask[] = [];
  #matchers = 0;
  #closed = false;

  constructor(start: MaskStart, options: Partial<MaskWorkerOptions> = {}) {
    this.#start = start;
    this.#options = { clock: systemClock, taskLimitMs: 30_000, ...options };
  }

  /**
   * Constraints of answers that are constrained alike.
   * @throws ApiError naming `param` and what of it cannot be followed
   */
  async open(
    source: GrammarSource,
    param: string,
    thinking: Thinking,
    answers: number,
  ): Promise<Constraint[]> {
    const matchers = Array.from({ length: answers }, () => this.#matchers++);
    try {
      const first = await this.#ask((id) => ({ kind: "open", id, matchers, source, thinking }));
      const child = this.#child;
      return matchers.map((matcher) => ({
        first,
        next: async (token) => {
          if (this.#child !== child) throw gone();
          if (this.#start.endTokens.includes(token)) return undefined;
          return this.#ask((id) => ({ kind: "push", id, matcher, token }));
        },
        close: () => {
          if (this.#child === child) this.#post({ kind: "close", matcher });
        },
      }));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      throw new ApiError(400, "unsupported_value", `${param}: ${error.message}`, { param });
    }
  }

  close(): void {
    this.#closed = true;
    this.#end(this.#child, "the server is closing");
  }

  #ask(taskOf: (id: number) => MaskTask): Promise<Uint32Array> {
    return new Promise((resolve, reject) => {
      const { clock, taskLimitMs } = this.#options;
      const late = () => this.#end(this.#child, `took longer than ${taskLimitMs} ms`);
      const id = this.#tasks++;
      this.#waiting.set(id, { resolve, reject, cancelTimer: clock.after(taskLimitMs, late) });
      this.#post(taskOf(id));
    });
  }

  #post(task: MaskTask): void {
    if (this.#closed) {
      this.#end(undefined, "the server is closing");
      return;
    }
    this.#unsent.push(task);
    if (this.#unsent.length > 1) return;
    this.#options.clock.soon(() => {
      this.#child ??= this.#spawn();
      if (this.#waiting.size > 0) this.#hold(this.#child, true);
      this.#child.send(this.#unsent);
      this.#unsent = [];
    });
  }

  #spawn(): ChildProcess {
    const program = fileURLToPath(new URL("./mask-process.js", import.meta.url));
    const child = fork(program, [`${process.pid}`], {
      serialization: "advanced",
      execArgv: [`--max-old-space-size=${HEAP_MB}`],
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    child.on("message", (reports: MaskReport[]) => {
      if (this.#child === child) this.#hear(reports);
    });
    child.on("error", (error) => this.#end(child, `failed: ${error.message}`));
    child.on("exit", (code, signal) => this.#end(child, `ended its process (${signal ?? code})`));
    child.send(this.#start);
    return child;
  }

  #hear(reports: readonly MaskReport[]): void {
    for (const report of reports) {
      const { resolve, reject, cancelTimer } = this.#waiting.get(report.id) as Waiting;
      this.#waiting.delete(report.id);
      cancelTimer();
      if (report.kind === "mask") resolve(report.mask);
      else
        reject(report.kind === "refused" ? new Refusal(report.message) : new Error(report.message));
    }
    if (this.#waiting.size === 0 && this.#child) this.#hold(this.#child, false);
  }

  /** An idle child is no reason for the process to live on. */
  #hold(child: ChildProcess, held: boolean): void {
    if (held) {
      child.ref();
      child.channel?.ref();
    } else {
      child.unref();
      child.channel?.unref();
    }
  }

  /** Whoever waits for a process that is gone is told so; the next answer starts another. */
  #end(child: ChildProcess | undefined, reason: string): void {
    if (child !== this.#child) return;
    this.#child = undefined;
    child?.kill("SIGKILL");
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#unsent = [];
    for (const { reject, cancelTimer } of waiting) {
      cancelTimer();
      reject(gone(reason));
    }
  }
}

/** A schema or grammar that cannot be followed. */
class Refusal extends Error {}

const gone = (reason = "has ended"): ApiError =>
  new ApiError(503, "mask_worker_failed", `following this answer's constraint ${reason}`);
