import { channels, type Transport } from "../../cluster/index.ts";
import type { Order } from "../../model/index.ts";
import { OverlapVote, type OverlapMode, type OwnStep } from "./overlap-vote.ts";

export interface UnitClockOptions {
  readonly overlap: OverlapMode;
  /** Milliseconds. */
  readonly now: () => number;
  /** Milliseconds that the rank has waited so far for rows of others. */
  readonly waitedMs?: () => number;
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
  readonly #waitedMs: () => number;
  readonly #vote = new OverlapVote();
  #known = 0;
  #version = 0;
  #rows = 0;
  #order: Order = "whole";
  #overlappedSteps = 0;
  /** What the rank itself has of the step last joined, when that began, and what was waited before. */
  #own: (OwnStep & { readonly began: number; readonly waitedMs: number }) | undefined;

  constructor(
    transport: Transport,
    ranks: readonly number[],
    { overlap, now, waitedMs = () => 0 }: UnitClockOptions = { overlap: "off", now: () => 0 },
  ) {
    this.#transport = transport;
    this.#others = ranks.filter((rank) => rank !== transport.rank);
    this.#overlap = overlap;
    this.#now = now;
    this.#waitedMs = waitedMs;
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
    const { saves, trial } = this.#vote.opinion(step);
    const { rows, hasPrompts } = step;
    const own = Int32Array.of(rows, this.#known, saves, Number(trial), Number(hasPrompts));
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
    this.#rows = sum(all.map(([each]) => each));
    const isFor = sum(all.map(([, , each]) => each)) > 0;
    const isTrial = all.some(([, , , each]) => each > 0);
    const unitHasPrompts = all.some(([, , , , each]) => each > 0);
    this.#order = this.#orderOf(isFor !== isTrial, unitHasPrompts);
    this.#own = { ...step, began: this.#now(), waitedMs: this.#waitedMs() };
    return this.#rows;
  }

  /**
   * The step last joined was computed: what it took decides how others will be. To be called once all that
   * depends on the order is done; later calls for the step change nothing.
   */
  computed(): void {
    if (!this.#own) return;
    const { began, waitedMs, ...step } = this.#own;
    this.#own = undefined;
    const overlapped = this.#order !== "whole";
    if (overlapped) this.#overlappedSteps++;
    this.#vote.learn(step, {
      overlapped,
      milliseconds: this.#now() - began,
      waitedMs: this.#waitedMs() - waitedMs,
    });
  }

  /** DeepSeek's order of a step with prompts, or of one that only decodes, where the step overlaps. */
  #orderOf(voted: boolean, hasPrompts: boolean): Order {
    const overlaps = this.#overlap === "auto" ? voted : this.#overlap === "on";
    if (!overlaps) return "whole";
    return hasPrompts ? "prefill" : "decode";
  }
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
