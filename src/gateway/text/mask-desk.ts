import {
  type FollowedGrammar,
  FunctionError,
  GrammarError,
  type Grammars,
} from "../../model/index.ts";
import type { FollowTask, MaskReport, MaskReports, MaskTask, OpenTask } from "./mask-messages.ts";

const TOO_DEEP = "it is too long, or nested too deep, to be followed";

/** Follows answers through their grammars, one task after the other. */
export class MaskDesk {
  readonly #grammars: Grammars;
  readonly #send: (reports: MaskReports) => void;
  #masks: MaskReports["masks"][number][] = [];

  constructor(grammars: Grammars, send: (reports: MaskReports) => void) {
    this.#grammars = grammars;
    this.#send = send;
  }

  /** Steps wait for those who are under way, and nobody for who begins: one at a time does. */
  hear(tasks: readonly MaskTask[]): void {
    const following = tasks.flatMap((task) => (task.kind === "follow" ? [this.#report(task)] : []));
    if (following.length > 0) this.#tell(following);
    for (const task of tasks) {
      if (task.kind === "open") setImmediate(() => this.#tell([this.#report(task)]));
    }
  }

  #tell(reports: readonly MaskReport[]): void {
    const masks = this.#masks;
    this.#masks = [];
    this.#send({ reports, masks, dropped: this.#grammars.takeDropped() });
  }

  #report(task: MaskTask): MaskReport {
    const { id } = task;
    try {
      return task.kind === "open" ? this.#open(task, id) : this.#follow(task, id);
    } catch (error) {
      // Readers of grammars recurse: one too deep for the stack is refused as others are.
      if (task.kind === "open" && error instanceof RangeError) {
        return { kind: "refused", id, message: TOO_DEEP, isFunctions: false };
      }
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
