import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type Clock, systemClock } from "../../cluster/index.ts";
import {
  allow,
  type GrammarSource,
  markersOf,
  maskWithout,
  Vocabulary,
} from "../../model/index.ts";
import { ApiError } from "../errors.ts";
import {
  type Constraint,
  FollowedAnswer,
  type Follower,
  type Opened,
  phaseOf,
  type Thinking,
  type Thoughts,
} from "./constraint.ts";
import { GrammarTable } from "./grammar-table.ts";
import type {
  FollowTask,
  MaskReport,
  MaskReports,
  MaskStart,
  MaskTask,
  OpenTask,
} from "./mask-messages.ts";

/** Grammars are bounded by what they may cost; this is for all that are in use. */
const HEAP_MB = 1024;

interface Waiting {
  readonly resolve: (report: MaskReport) => void;
  readonly reject: (error: Error) => void;
  readonly cancelTimer: () => void;
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
  readonly #vocabulary: Vocabulary;
  /** By task. */
  readonly #waiting = new Map<number, Waiting>();
  /** Grammars that the child follows. */
  readonly #tables = new Map<number, GrammarTable>();
  /** By the markers that have no place in thoughts. */
  readonly #thoughtMasks = new Map<string, Uint32Array>();
  #tasks = 0;
  /** Of this turn of the event loop; they travel together. */
  #unsent: MaskTask[] = [];
  #closed = false;

  constructor(start: MaskStart, options: Partial<MaskWorkerOptions> = {}) {
    this.#start = start;
    this.#vocabulary = new Vocabulary(start.vocabulary);
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
    try {
      const opened = await this.#open(source, []);
      const child = this.#child;
      const thoughts = this.#thoughtsOf(source, thinking);
      const first = this.#firstMask(opened, thoughts);
      const { endTokens } = this.#start;
      return Array.from({ length: answers }, () => {
        const follower = this.#followerOn(child, param);
        return new FollowedAnswer(source, opened, first, thoughts, { follower, endTokens });
      });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const at = error.isFunctions ? "tools" : param;
      throw new ApiError(400, "unsupported_value", `${at}: ${error.message}`, { param: at });
    }
  }

  close(): void {
    this.#closed = true;
    this.#end(this.#child, "the server is closing");
  }

  /** For one answer. Those that one child follows do not go on with the next. */
  #followerOn(child: ChildProcess | undefined, param: string): Follower {
    const assertThere = () => {
      if (this.#child !== child) throw gone();
    };
    // Whether another grammar, for this answer alone, would be spent as soon.
    let isLong = false;
    return {
      open: async (source, tokens) => {
        assertThere();
        const opened = await this.#open(source, tokens).catch((error: Error) => {
          throw error instanceof Refusal ? tooLong(param) : error;
        });
        isLong = opened.isFull;
        return opened;
      },
      follow: async (table, state, token) => {
        assertThere();
        const report = await this.#ask({ kind: "follow", grammar: table.id, state, token });
        if (report.kind === "spent" && isLong) throw tooLong(param);
        if (report.kind !== "place") return undefined;
        table.learn(state, token, report.place, report.steps);
        return report.place;
      },
    };
  }

  async #open(
    source: GrammarSource,
    tokens: readonly number[],
  ): Promise<Opened & { readonly isFull: boolean }> {
    const report = await this.#ask({ kind: "open", source, tokens });
    if (report.kind !== "opened") throw new Error(`expected a grammar, got ${report.kind}`);
    const { grammar, start, place, isFull } = report;
    return { table: this.#table(grammar), start, place, isFull };
  }

  /** Calls in thoughts would be read as the answer's. */
  #thoughtsOf(source: GrammarSource, thinking: Thinking): Thoughts {
    const markers = source.kind === "calls" ? markersOf(source.format) : [];
    const key = markers.join();
    const tokens = markers.flatMap((text) => this.#vocabulary.specialId(text) ?? []);
    const mask =
      this.#thoughtMasks.get(key) ??
      maskWithout(this.#vocabulary, [...this.#start.endTokens, ...tokens]);
    this.#thoughtMasks.set(key, mask);
    const beginToken = this.#vocabulary.specialId("<think>");
    const endToken = this.#vocabulary.specialId("</think>");
    return { ...thinking, beginToken, endToken, mask };
  }

  #firstMask({ table, start }: Opened, thoughts: Thoughts): Uint32Array {
    const phase = phaseOf(thoughts);
    if (phase === "thinking") return thoughts.mask;
    const mask = table.mask(start);
    if (phase === "answer" || thoughts.beginToken === undefined) return mask;
    const withThoughts = mask.slice();
    allow(withThoughts, thoughts.beginToken);
    return withThoughts;
  }

  #table(grammar: number): GrammarTable {
    const table = this.#tables.get(grammar) ?? new GrammarTable(grammar, this.#vocabulary);
    this.#tables.set(grammar, table);
    return table;
  }

  #ask(task: FollowTask | OpenTask): Promise<MaskReport> {
    return new Promise((resolve, reject) => {
      const { clock, taskLimitMs } = this.#options;
      const late = () => this.#end(this.#child, `took longer than ${taskLimitMs} ms`);
      const id = this.#tasks++;
      this.#waiting.set(id, { resolve, reject, cancelTimer: clock.after(taskLimitMs, late) });
      this.#post({ ...task, id });
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
    child.on("message", (reports: MaskReports) => {
      if (this.#child === child) this.#hear(reports);
    });
    child.on("error", (error) => this.#end(child, `failed: ${error.message}`));
    child.on("exit", (code, signal) => this.#end(child, `ended its process (${signal ?? code})`));
    child.send(this.#start);
    return child;
  }

  #hear({ reports, masks, dropped }: MaskReports): void {
    for (const [grammar, number, mask] of masks) this.#table(grammar).addMask(number, mask);
    for (const grammar of dropped) this.#tables.delete(grammar);
    for (const report of reports) {
      const { resolve, reject, cancelTimer } = this.#waiting.get(report.id) as Waiting;
      this.#waiting.delete(report.id);
      cancelTimer();
      if (report.kind === "refused") reject(new Refusal(report.message, report.isFunctions));
      else if (report.kind === "failed") reject(new Error(report.message));
      else resolve(report);
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
    this.#tables.clear();
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
class Refusal extends Error {
  readonly isFunctions: boolean;

  constructor(message: string, isFunctions: boolean) {
    super(message);
    this.isFunctions = isFunctions;
  }
}

const tooLong = (param: string): Error =>
  new Error(`${param}: this answer has more states than can be followed; it counts too far`);

const gone = (reason = "has ended"): ApiError =>
  new ApiError(503, "mask_worker_failed", `following this answer's constraint ${reason}`);
