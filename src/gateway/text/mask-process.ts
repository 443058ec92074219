/** The mask worker's process: follows answers through their grammars, one task after the other. */
import {
  type FollowedGrammar,
  FunctionError,
  GrammarError,
  Grammars,
  TokenOrder,
  Vocabulary,
} from "../../model/index.ts";
import { liveAsLongAs } from "./life.ts";
import type {
  FollowTask,
  MaskReport,
  MaskReports,
  MaskStart,
  MaskTask,
  OpenTask,
} from "./mask-messages.ts";

class MaskDesk {
  readonly #grammars: Grammars;
  readonly #unopened: (OpenTask & { readonly id: number })[] = [];
  #masks: MaskReports["masks"][number][] = [];

  constructor(grammars: Grammars) {
    this.#grammars = grammars;
  }

  /** Steps wait for those who are under way, and nobody for those who begin: they come one at a time. */
  hear(tasks: readonly MaskTask[]): void {
    const following = tasks.flatMap((task) => (task.kind === "follow" ? [this.#report(task)] : []));
    if (following.length > 0) this.#tell(following);
    if (this.#unopened.length === 0) setImmediate(() => this.#openNext());
    for (const task of tasks) if (task.kind === "open") this.#unopened.push(task);
  }

  #openNext(): void {
    const next = this.#unopened.shift();
    if (!next) return;
    this.#tell([this.#report(next)]);
    setImmediate(() => this.#openNext());
  }

  #tell(reports: readonly MaskReport[]): void {
    const masks = this.#masks;
    this.#masks = [];
    process.send?.({ reports, masks, dropped: this.#grammars.takeDropped() } satisfies MaskReports);
  }

  #report(task: MaskTask): MaskReport {
    const { id } = task;
    try {
      return task.kind === "open" ? this.#open(task, id) : this.#follow(task, id);
    } catch (error) {
      const { message } = error as Error;
      if (!(error instanceof GrammarError)) return { kind: "failed", id, message };
      return { kind: "refused", id, message, isFunctions: error instanceof FunctionError };
    }
  }

  #open({ source, tokens }: OpenTask, id: number): MaskReport {
    const grammar = this.#grammars.open(source);
    const state = tokens.reduce((at, token) => grammar.stateAfter(at, token), grammar.start);
    const start = this.#placeAt(grammar, grammar.start);
    const place = this.#placeAt(grammar, state);
    return { kind: "opened", id, grammar: grammar.id, start, place, isFull: grammar.isFull };
  }

  #follow({ grammar: wanted, state, token }: FollowTask, id: number): MaskReport {
    const grammar = this.#grammars.find(wanted);
    if (!grammar) return { kind: "forgotten", id };
    try {
      const place = this.#placeAt(grammar, grammar.stateAfter(state, token));
      return { kind: "place", id, place, steps: grammar.stepsThrough(state, token) };
    } catch (error) {
      if (grammar.isSpent) return { kind: "spent", id };
      throw error;
    }
  }

  #placeAt(grammar: FollowedGrammar, state: number) {
    const place = grammar.placeAt(state);
    for (const [number, mask] of grammar.takeMasks()) this.#masks.push([grammar.id, number, mask]);
    return place;
  }
}

liveAsLongAs(Number(process.argv[2]));
process.once("message", ({ vocabulary, endTokens }: MaskStart) => {
  const desk = new MaskDesk(new Grammars(new TokenOrder(new Vocabulary(vocabulary), endTokens)));
  process.on("message", (tasks: MaskTask[]) => desk.hear(tasks));
});
