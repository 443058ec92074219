import { afterAwake, systemClock } from "../../cluster/index.ts";
import { type ToolCallFormat, Vocabulary } from "../../model/index.ts";
import { ApiError, invalidValue } from "../errors.ts";
import type { TextReport, TextTask } from "./messages.ts";
import {
  endInTime,
  type StartedProcess,
  type StartOptions,
  startProcess,
} from "./start-process.ts";
import { charactersOf, type Job, type QueueLimits, TaskQueue } from "./task-queue.ts";
import { type TextProcess, textProcessOn } from "./text-process.ts";

interface TextWorkerOptions extends StartOptions, QueueLimits {
  /** File of a chat template, instead of the folder's own. */
  readonly chatTemplate?: string;
  /** For one request's text. */
  readonly taskLimitMs: number;
}

const defaults: Omit<TextWorkerOptions, "createProcess"> = {
  startLimitMs: 20_000,
  taskLimitMs: 5_000,
  queueLimit: 1024,
  queuedCharacters: 64 * 2 ** 20,
  clock: systemClock,
};

type Prompts = readonly Uint32Array[];
type TextJob = Job<TextTask, Prompts>;

/**
 * Renders chat templates and tokenises, in a process of its own, so that nobody waits for a text but
 * who sent it. A task that takes too long costs its process, which is replaced, and is refused alone.
 */
export class TextWorker {
  readonly vocabulary: Vocabulary;
  /** How the model writes tool calls; undefined where that is not known. */
  readonly toolCallFormat: ToolCallFormat | undefined;
  readonly #options: TextWorkerOptions;
  readonly #queue: TaskQueue<TextTask, Prompts>;
  #running: TextJob | undefined;
  #cancelTimer = () => {};
  /** Undefined while the next one starts, and when that has failed. */
  #process: TextProcess | undefined;
  #restarting = false;
  #closed = false;

  /** @throws TextWorkerError naming the file that cannot be used. */
  static async start(
    directory: string,
    options: Partial<TextWorkerOptions> = {},
  ): Promise<TextWorker> {
    const createProcess = textProcessOn(directory, options.chatTemplate);
    const whole = { createProcess, ...defaults, ...options };
    let worker: TextWorker | undefined;
    const started = await startProcess(whole, {
      report: (report) => {
        if (worker) worker.#hear(report);
      },
      ended: (message) => {
        if (worker) worker.#lose(message);
      },
    });
    worker = new TextWorker(whole, started);
    return worker;
  }

  private constructor(options: TextWorkerOptions, { child, format }: StartedProcess) {
    this.#options = options;
    this.#queue = new TaskQueue("texts", options);
    this.vocabulary = new Vocabulary(format.vocabulary);
    this.toolCallFormat = format.toolCallFormat;
    this.#process = child;
  }

  /**
   * A task's prompts.
   * @throws ApiError when the text is refused, costs too much or finds no place in the queue;
   * ClientGone when `signal` was aborted.
   */
  async perform(task: TextTask, signal: AbortSignal): Promise<Prompts> {
    if (this.#closed) throw ended("the server is closing");
    const characters = charactersOf(
      task.kind === "chat" ? [task.messages, task.options] : task.texts,
    );
    const prompts = this.#queue.add(task, characters, signal);
    this.#next();
    return prompts;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelTimer();
    this.#refuseAll(ended("the server is closing"));
    await this.#process?.terminate();
  }

  /** Posts the next task once the last is answered. */
  #next(): void {
    if (this.#running || this.#queue.isEmpty) return;
    if (!this.#process) {
      void this.#restart();
      return;
    }
    const job = this.#queue.take() as TextJob;
    this.#running = job;
    const { clock, taskLimitMs } = this.#options;
    this.#cancelTimer = afterAwake(clock, taskLimitMs, () =>
      this.#stop(`took longer than ${taskLimitMs} ms`),
    );
    this.#process.post(job.task);
  }

  #hear(report: TextReport): void {
    const job = this.#running;
    if (!job) return;
    this.#running = undefined;
    this.#cancelTimer();
    if (report.kind === "prompts") job.resolve(report.prompts);
    else if (report.kind === "unsayable") job.reject(invalidValue(report.field, report.message));
    else if (report.kind === "failed") job.reject(new Error(report.message));
    else job.reject(ended(report.kind));
    this.#next();
  }

  #stop(reason: string): void {
    this.#lose(reason, this.#process && endInTime(this.#process, this.#options.clock));
  }

  /** The running task has ended its process: it is refused, and the others go on with the next one. */
  #lose(reason: string, gone?: Promise<unknown>): void {
    this.#cancelTimer();
    this.#process = undefined;
    const message = `rendering and tokenising this request's text ${reason}`;
    this.#running?.reject(new ApiError(400, "text_too_costly", message));
    this.#running = undefined;
    void this.#restart(gone);
  }

  async #restart(gone?: Promise<unknown>): Promise<void> {
    if (this.#restarting || this.#closed) return;
    this.#restarting = true;
    try {
      await gone;
      const { child } = await startProcess(this.#options, {
        report: (report) => this.#hear(report),
        ended: (message) => this.#lose(message),
      });
      if (this.#closed) await child.terminate();
      else this.#process = child;
    } catch (error) {
      this.#refuseAll(ended((error as Error).message));
    } finally {
      this.#restarting = false;
    }
    this.#next();
  }

  #refuseAll(error: ApiError): void {
    this.#running?.reject(error);
    this.#running = undefined;
    this.#queue.refuseAll(error);
  }
}

const ended = (message: string) => new ApiError(503, "text_worker_failed", message);
