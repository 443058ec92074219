import { pino } from "pino";
import { systemClock } from "../../cluster/index.ts";
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
import { forkMaskChild } from "./mask-child.ts";
import type { MaskNews, MaskReport, MaskStart } from "./mask-messages.ts";
import { type MaskTaskOptions, MaskTasks } from "./mask-tasks.ts";

const defaults: MaskTaskOptions = {
  createChild: forkMaskChild,
  clock: systemClock,
  taskLimitMs: 30_000,
  queueLimit: 256,
  queuedCharacters: 64 * 2 ** 20,
  log: pino({ level: "silent" }),
};

/** Answers that are to be constrained alike. */
interface AskedAnswers {
  readonly source: GrammarSource;
  /** The field that says so. */
  readonly param: string;
  readonly thinking: Thinking;
  readonly answers: number;
}

/**
 * Says which tokens may come in constrained answers. Schemas and grammars of clients are followed in a
 * process of its own, which starts with the first of them. If it ends, what it was at fails, and the
 * answers it followed go on in another.
 */
export class MaskWorker {
  readonly #start: MaskStart;
  readonly #tasks: MaskTasks;
  readonly #vocabulary: Vocabulary;
  /** Grammars that the child follows. */
  readonly #tables = new Map<number, GrammarTable>();
  /** By the markers that have no place in thoughts. */
  readonly #thoughtMasks = new Map<string, Uint32Array>();

  constructor(start: MaskStart, options: Partial<MaskTaskOptions> = {}) {
    this.#start = start;
    this.#vocabulary = new Vocabulary(start.vocabulary);
    this.#tasks = new MaskTasks(
      start,
      { ...defaults, ...options },
      { learn: (news) => this.#learn(news), forget: () => this.#tables.clear() },
    );
  }

  /**
   * @throws ApiError naming `param` and what of it cannot be followed, or when there is no room to wait;
   * ClientGone when `signal` was aborted
   */
  async open(
    { source, param, thinking, answers }: AskedAnswers,
    signal: AbortSignal,
  ): Promise<Constraint[]> {
    try {
      const report = await this.#tasks.open({ kind: "open", source, tokens: [] }, signal);
      const opened = this.#opened(report);
      const thoughts = this.#thoughtsOf(source, thinking);
      const first = this.#firstMask(opened, thoughts);
      const { endTokens } = this.#start;
      return Array.from({ length: answers }, () => {
        const follower = this.#followerOf(param);
        return new FollowedAnswer(source, opened, first, thoughts, { follower, endTokens });
      });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const at = error.isFunctions ? "tools" : param;
      throw new ApiError(400, "unsupported_value", `${at}: ${error.message}`, { param: at });
    }
  }

  close(): void {
    this.#tasks.close();
  }

  /** For one answer. */
  #followerOf(param: string): Follower {
    // Whether another grammar, for this answer alone, would be spent as soon.
    let isLong = false;
    return {
      open: async (source, tokens) => {
        const report = await this.#tasks.open({ kind: "open", source, tokens });
        if (report.kind === "refused") throw tooLong(param);
        const opened = this.#opened(report);
        isLong = opened.isFull;
        return opened;
      },
      follow: async (table, state, token) => {
        if (this.#tables.get(table.id) !== table) return undefined;
        const task = { kind: "follow", grammar: table.id, state, token } as const;
        const report = await this.#tasks.follow(task);
        if (report.kind === "refused") throw new Error(report.message);
        if (report.kind === "spent" && isLong) throw tooLong(param);
        if (report.kind !== "place") return undefined;
        table.learn(state, token, report.place, report.steps);
        return report.place;
      },
    };
  }

  /** @throws Refusal */
  #opened(report: MaskReport): Opened & { readonly isFull: boolean } {
    if (report.kind === "refused") throw new Refusal(report.message, report.isFunctions);
    if (report.kind !== "opened") throw new Error(`expected a grammar, got ${report.kind}`);
    const { grammar, start, place, isFull } = report;
    return { table: this.#table(grammar), start, place, isFull };
  }

  #learn({ masks, dropped }: MaskNews): void {
    for (const [grammar, number, mask] of masks) this.#table(grammar).addMask(number, mask);
    for (const grammar of dropped) this.#tables.delete(grammar);
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
