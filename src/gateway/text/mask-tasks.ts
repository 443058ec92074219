import type { Logger } from "pino";
import { afterAwake, type Clock } from "../../cluster/index.ts";
import { ApiError } from "../errors.ts";
import type { CreateMaskChild, MaskChild } from "./mask-child.ts";
import type {
  FollowTask,
  MaskNews,
  MaskReport,
  MaskReports,
  MaskStart,
  MaskTask,
  OpenTask,
} from "./mask-messages.ts";
import { charactersOf, type Job, type QueueLimits, TaskQueue } from "./task-queue.ts";

export interface MaskTaskOptions extends QueueLimits {
  readonly createChild: CreateMaskChild;
  readonly clock: Clock;
  /** For one task, from when it was posted. */
  readonly taskLimitMs: number;
  readonly log: Logger;
}

export interface MaskTasksListener {
  learn(news: MaskNews): void;
  /** The next child knows nothing of what was learnt. */
  forget(): void;
}

type OpenJob = Job<OpenTask, MaskReport>;

/** A task that the child has. */
interface Posted extends Pick<OpenJob, "resolve" | "reject"> {
  /** Where it opens a grammar. */
  readonly job: OpenJob | undefined;
  readonly cancelTimer: () => void;
}

/**
 * Gives tasks to the child that follows constraints, and starts it when there is one. Grammars are
 * opened one at a time; those who follow one do not wait for that. When the child ends, an opening that it
 * was at fails, and all else is forgotten: it begins anew with the next child.
 */
export class MaskTasks {
  readonly #start: MaskStart;
  readonly #options: MaskTaskOptions;
  readonly #listener: MaskTasksListener;
  readonly #openings: TaskQueue<OpenTask, MaskReport>;
  #child: MaskChild | undefined;
  /** In the order in which the child works. */
  readonly #posted = new Map<number, Posted>();
  /** Of this turn of the event loop; they travel together. */
  #unsent: MaskTask[] = [];
  #tasks = 0;
  #closed = false;

  constructor(start: MaskStart, options: MaskTaskOptions, listener: MaskTasksListener) {
    this.#start = start;
    this.#options = options;
    this.#listener = listener;
    this.#openings = new TaskQueue("constraints", options);
  }

  /**
   * In its turn; without a `signal`, for an answer that is under way, at once and however many wait.
   * @throws ApiError when there is no room to wait, or it cost too much; ClientGone
   */
  async open(task: OpenTask, signal?: AbortSignal): Promise<MaskReport> {
    if (this.#closed) throw closing();
    const report = signal
      ? this.#openings.add(task, charactersOf(task.source), signal)
      : this.#openings.addFirst(task);
    this.#openNext();
    return report;
  }

  async follow(task: FollowTask): Promise<MaskReport> {
    if (this.#closed) throw closing();
    return new Promise((resolve, reject) => this.#post(task, { resolve, reject, job: undefined }));
  }

  close(): void {
    this.#closed = true;
    for (const { job } of this.#takeBack()) job?.reject(closing());
    this.#openings.refuseAll(closing());
  }

  #openNext(): void {
    if ([...this.#posted.values()].some(({ job }) => job)) return;
    const job = this.#openings.take();
    if (job) this.#post(job.task, { resolve: job.resolve, reject: job.reject, job });
  }

  #post(task: FollowTask | OpenTask, asked: Omit<Posted, "cancelTimer">): void {
    const { clock, taskLimitMs } = this.#options;
    const id = this.#tasks++;
    const late = () => this.#end(`took longer than ${taskLimitMs} ms`);
    this.#posted.set(id, { ...asked, cancelTimer: afterAwake(clock, taskLimitMs, late) });
    this.#unsent.push({ ...task, id });
    if (this.#unsent.length === 1) clock.soon(() => this.#send());
  }

  #send(): void {
    if (this.#unsent.length === 0) return;
    this.#putInOrder();
    this.#child ??= this.#createChild();
    this.#child.hold(true);
    this.#child.post(this.#unsent);
    this.#unsent = [];
  }

  /** As the child works: who follows goes before who opens. */
  #putInOrder(): void {
    const of = (kind: MaskTask["kind"]) => this.#unsent.filter((task) => task.kind === kind);
    this.#unsent = [...of("follow"), ...of("open")];
    for (const { id } of this.#unsent) {
      const posted = this.#posted.get(id) as Posted;
      this.#posted.delete(id);
      this.#posted.set(id, posted);
    }
  }

  #createChild(): MaskChild {
    return this.#options.createChild(this.#start, {
      report: (reports) => this.#hear(reports),
      ended: (message) => this.#end(message),
    });
  }

  #hear({ reports, ...news }: MaskReports): void {
    this.#listener.learn(news);
    for (const report of reports) {
      const { resolve, reject, cancelTimer } = this.#posted.get(report.id) as Posted;
      this.#posted.delete(report.id);
      cancelTimer();
      if (report.kind === "failed") reject(new Error(report.message));
      else resolve(report);
    }
    this.#openNext();
    if (this.#posted.size === 0) this.#child?.hold(false);
  }

  #end(reason: string): void {
    this.#options.log.warn({ reason }, "the process that follows constraints ends");
    const [atWork, ...behind] = this.#takeBack();
    const message = `following this answer's constraint ${reason}`;
    atWork?.job?.reject(new ApiError(400, "constraint_too_costly", message));
    for (const { job } of behind) if (job) this.#openings.putBack(job);
    this.#openNext();
  }

  /** What the child had, in its order, where there is no child any more; whoever followed has to begin anew. */
  #takeBack(): Posted[] {
    this.#child?.kill();
    this.#child = undefined;
    this.#unsent = [];
    this.#listener.forget();
    const posted = [...this.#posted.entries()];
    this.#posted.clear();
    for (const [id, { job, resolve, cancelTimer }] of posted) {
      cancelTimer();
      if (!job) resolve({ kind: "forgotten", id });
    }
    return posted.map(([, each]) => each);
  }
}

const closing = () => new ApiError(503, "mask_worker_failed", "the server is closing");
