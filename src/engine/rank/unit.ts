import { channels, type Transport } from "../../cluster/index.ts";
import type { Order } from "../../model/index.ts";
import { OverlapVote, type OverlapMode, type OwnStep } from "./overlap-vote.ts";

/** Every so many steps do what the vote was against, so that it can be right again. */
const TRIAL_STEPS = 32;

export interface UnitClockOptions {
  readonly overlap: OverlapMode;
  /** Milliseconds. */
  readonly now: () => number;
}

/**
 * Keeps the ranks of a unit in step, as expert parallelism needs: whoever has rows calls a step by
 * telling its row count and the newest placement it knows, and the others join it, with no rows if
 * they have none.
 */
export class UnitClock {
  readonly #transport: Transport;
  readonly #others: readonly number[];
  readonly #overlap: OverlapMode;
  readonly #now: () => number;
  readonly #vote = new OverlapVote();
  #known = 0;
  #version = 0;
  #rows = 0;
  #order: Order = "whole";
  #steps = 0;
  #overlappedSteps = 0;
  /** What the rank itself has of the step last joined, and when that began. */
  #own: (OwnStep & { readonly began: number }) | undefined;

  constructor(
    transport: Transport,
    ranks: readonly number[],
    { overlap, now }: UnitClockOptions = { overlap: "off", now: () => 0 },
  ) {
    this.#transport = transport;
    this.#others = ranks.filter((rank) => rank !== transport.rank);
    this.#overlap = overlap;
    this.#now = now;
  }

  /** The placement of the step last joined: the newest that all ranks then knew. */
  get version(): number {
    return this.#version;
  }

  /** Rows of the step last joined, of all ranks together. */
  get rows(): number {
    return this.#rows;
  }

  /** How the micro-batches of the step last joined overlap: the same on all ranks. */
  get order(): Order {
    return this.#order;
  }

  /** Steps computed so far whose micro-batches overlapped. */
  get overlappedSteps(): number {
    return this.#overlappedSteps;
  }

  /** Takes note that this rank knows a placement; versions ascend. */
  learn(version: number): void {
    this.#known = version;
  }

  /** Resolves when another rank has called a step that this one has not joined, or on abort. */
  called(signal: AbortSignal): Promise<void> {
    return this.#transport.arrival(channels.step, signal);
  }

  /** Joins a step; its rows, which are the same number on each rank. */
  async join(step: OwnStep): Promise<number> {
    const vote = this.#vote.vote(step);
    const own = Int32Array.of(step.rows, this.#known, vote, step.hasPrompts ? 1 : 0);
    const told = Uint8Array.from(new Uint8Array(own.buffer));
    const others = await Promise.all(
      this.#others.map(async (rank) => {
        const [message] = await Promise.all([
          this.#transport.receive(rank, channels.step, "soon"),
          this.#transport.send(rank, channels.step, told),
        ]);
        return new Int32Array(message.slice().buffer);
      }),
    );
    const all = [own, ...others];
    this.#version = Math.min(...all.map(([, version]) => version));
    this.#rows = sum(all.map(([rows]) => rows));
    const isFor = sum(all.map(([, , votes]) => votes)) > 0;
    const hasPrompts = all.some(([, , , prompts]) => prompts > 0);
    this.#order = this.#orderOf(isFor, hasPrompts);
    this.#own = { ...step, began: this.#now() };
    return this.#rows;
  }

  /** The step last joined was computed: what it took decides how others will be. */
  computed(): void {
    if (!this.#own) return;
    const { began, ...step } = this.#own;
    const overlapped = this.#order !== "whole";
    if (overlapped) this.#overlappedSteps++;
    this.#vote.learn(step, overlapped, this.#now() - began);
  }

  /** DeepSeek's order of a step with prompts, or of one that only decodes, where the step overlaps. */
  #orderOf(isFor: boolean, hasPrompts: boolean): Order {
    const isTrial = ++this.#steps % TRIAL_STEPS === 0;
    const overlaps = this.#overlap === "auto" ? isFor !== isTrial : this.#overlap === "on";
    if (!overlaps) return "whole";
    return hasPrompts ? "prefill" : "decode";
  }
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
