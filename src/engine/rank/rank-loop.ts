import type { Clock } from "../../cluster/index.ts";
import { NO_LAYER, waitFor, type Span, type SpanRecorder } from "../../trace/index.ts";
import { columnsOf } from "../event-columns.ts";
import type { EngineStats, RankCommand, RankNews, RankQuestion } from "../messages.ts";
import type { Rank } from "./rank.ts";
import { UnheardReports } from "./unheard-reports.ts";

/** Where a rank's words go. */
export interface RankPort {
  say(news: RankNews): void;
  /** The rank cannot go on: the error has no request to be told to. */
  die(error: unknown): void;
}

/** What the loop asks of a rank. */
export type LoopedRank = Pick<Rank, "core" | "stats" | "joinsSteps" | "place" | "listen" | "meet">;

/** A rank at work, on whatever thread and clock: commands in, one report a step out. */
export class RankLoop {
  readonly #rank: LoopedRank;
  readonly #port: RankPort;
  readonly #clock: Clock;
  readonly #recorder: SpanRecorder | undefined;
  /** The wait for requests, while nothing steps. */
  #rest: Span | undefined;
  readonly #unheard = new UnheardReports();
  #stepping = false;

  constructor(rank: LoopedRank, port: RankPort, clock: Clock, recorder?: SpanRecorder) {
    this.#rank = rank;
    this.#port = port;
    this.#clock = clock;
    this.#recorder = recorder;
  }

  /** Steps from now on when there is work, and listens to the ranks that hand sequences over. */
  start(): void {
    this.#rank.listen(() => this.#wake()).catch((error) => this.#port.die(error));
    this.#wake();
  }

  hear(command: RankCommand): void {
    const { core } = this.#rank;
    switch (command.kind) {
      case "generate":
        core.submit(command.handle, command.request, command.decodeRank, command.borrows);
        break;
      case "expect":
        core.expect(command.handle, command.request, command.prefillRank);
        break;
      case "cancel":
        core.cancel(command.handle);
        break;
      case "masks":
        core.allow(command.masks);
        return;
      case "heard":
        this.#unheard.heard();
        return;
      case "meet":
        this.#rank.meet(command.ranks);
        return;
      case "place":
        this.#rank.place(command.version, command.placement);
    }
    this.#wake();
  }

  async answer(question: RankQuestion): Promise<EngineStats> {
    if (question === "flush") await this.#rank.core.flush();
    return this.#rank.stats;
  }

  #wake(): void {
    if (this.#stepping) return;
    this.#stepping = true;
    if (this.#rest !== undefined) this.#recorder?.end(this.#rest);
    this.#run().catch((error) => this.#port.die(error));
  }

  async #run(): Promise<void> {
    const { core } = this.#rank;
    while (this.#rank.joinsSteps || !core.idle) {
      const began = this.#clock.now();
      const events = await core.step((guesses) => this.#port.say({ kind: "guesses", guesses }));
      // Before the events: after a request's last one nobody may be listening.
      if (this.#recorder) this.#port.say({ kind: "spans", spans: this.#recorder.take() });
      if (events.length > 0) {
        const { pagesInUse, contextCache } = core.stats;
        const { blockMicros } = contextCache ?? {};
        const stepMs = Math.max(0, this.#clock.now() - began);
        const report = { columns: columnsOf(events), pagesInUse, stepMs };
        this.#port.say({ kind: "events", ...report, ...(blockMicros && { blockMicros }) });
        this.#unheard.sent();
      }
      const room = this.#unheard.room();
      if (room) await (this.#recorder ? waitFor(this.#recorder, "READER", room) : room);
      // Commands that arrived during the step are heard before the next one.
      await new Promise<void>((resolve) => this.#clock.soon(resolve));
    }
    this.#stepping = false;
    this.#rest = this.#recorder?.begin("REQUESTS", NO_LAYER, 0);
  }
}
