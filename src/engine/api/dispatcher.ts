import type { Clock, Unit } from "../../cluster/index.ts";
import { eventsOf } from "../event-columns.ts";
import type { RankFleet } from "../fleet/index.ts";
import type { GenerationEvent, GenerationRequest, RankNews, TimedEvent } from "../messages.ts";
import type { Router } from "../routing/index.ts";
import type { MaskSource } from "./answer-masks.ts";
import { HashedPrompts } from "./hashed-prompts.ts";
import { Journeys, travel, type Journey } from "./journeys.ts";
import { LiveRequest } from "./live-request.ts";
import { MaskPost } from "./mask-post.ts";

/** What a rank says of requests. */
type Report = Extract<RankNews, { readonly kind: "events" }>;
type Failure = Extract<GenerationEvent, { readonly kind: "failed" }>;

/**
 * Failures that are the ranks', or of who tells them masks, after which others go on; any other is the
 * request's own.
 */
const passing: ReadonlySet<string> = new Set([
  ...["rank_lost", "handover_failed", "step_failed", "mask_late"],
]);
/** Of these, what happened while the rank computed the request. */
const STEP_FAILED = "step_failed";

/** After each loss but the first a request waits so much longer, until all have heard who is lost. */
const RETRY_MS = 100;
/** Milliseconds that a drained unit's requests have before others go on with them. */
const DRAIN_MS = 30_000;
/** Milliseconds that a request waits while no unit serves. */
const WAIT_MS = 60_000;
/** A request that meets more losses is no passer-by. */
const MOST_LOSSES = 12;

/** Ranks that are given nothing more. */
interface Drain {
  readonly ranks: readonly number[];
  readonly emptied: () => void;
  /** Calls off the moment at which others go on with what they have. */
  cancel: () => void;
}

export interface DispatcherParts {
  readonly router: Router;
  /** By number. */
  readonly ranks: RankFleet["ranks"];
  readonly clock: Clock;
  /** Times the events. */
  readonly now: () => number;
  /** Told once for each loss how many requests go on after it, and why. */
  readonly moved: (requests: number, reason: string) => void;
}

/**
 * Gives live requests to ranks and hears them. When ranks are lost, or fail, those that they computed
 * are given to others, with the tokens that their readers were told: a first attempt and a later one
 * differ in nothing else.
 */
export class Dispatcher {
  readonly #parts: DispatcherParts;
  readonly #hashed = new HashedPrompts();
  readonly #journeys = new Journeys();
  readonly #live = new Set<LiveRequest>();
  /** By the handles of their attempts. */
  readonly #attempts = new Map<number, LiveRequest>();
  /** For which there is no rank now; with what calls off the end of their patience. */
  readonly #waiting = new Map<LiveRequest, () => void>();
  /** Whether some unit served when that was looked at last. */
  #served = true;
  /** Ranks that are to be left by all requests, and who waits for that. */
  readonly #drains = new Set<Drain>();
  #looks = false;
  #retries = false;
  readonly #masks = new MaskPost();
  /** Whose ranks may have to be told of masks. */
  readonly #followed = new Set<LiveRequest>();
  readonly #tokens = { prefill: 0, decode: 0 };
  #nextHandle = 0;

  constructor(parts: DispatcherParts) {
    this.#parts = parts;
  }

  /** Since the start: tokens of prompts that came, once for all choices, and of answers that were told. */
  get tokens(): { readonly prefill: number; readonly decode: number } {
    return { ...this.#tokens };
  }

  begin(request: GenerationRequest, masks: MaskSource | undefined): LiveRequest {
    if (request.choice === 0) this.#tokens.prefill += request.prompt.length;
    const live = new LiveRequest(request, masks);
    this.#live.add(live);
    this.#place(live);
    return live;
  }

  /** Attempts on their way, and those that ended since `time`: of many at a time, some. */
  journeysSince(time: number): readonly Readonly<Journey>[] {
    return this.#journeys.since(time);
  }

  /** Its reader has left, or has read its end. */
  leave(live: LiveRequest): void {
    live.events.close();
    this.#end(live);
  }

  hear(rank: number, { columns, pagesInUse, blockMicros, stepMs }: Report): void {
    const { router, now } = this.#parts;
    const heard = now();
    const failures = new Map<LiveRequest, Failure>();
    for (const { handle, event } of eventsOf(columns)) {
      const live = this.#attempts.get(handle);
      if (!live) continue;
      live.attempt?.route.hear(event.kind, rank);
      const time = event.kind === "started" ? heard - stepMs : heard;
      if (live.attempt?.journey) travel(live.attempt.journey, event.kind, rank, time);
      if (event.kind === "failed") failures.set(live, event);
      else for (const each of live.inOrder({ ...event, time }, rank)) this.#tell(live, each);
    }
    this.#tellMasks();
    router.report(rank, pagesInUse, blockMicros);
    if (failures.size > 0) this.#hearFailures(rank, failures);
  }

  /**
   * Ranks are gone: other ranks go on with what they computed.
   * @param culprit the one that failed by itself, of these or of those lost before
   */
  lose(gone: readonly number[], reason: string, culprit?: number): void {
    for (const rank of gone) {
      this.#parts.router.lose(rank);
      this.#masks.forget(rank);
    }
    const interrupted = [...this.#live].filter((live) => live.needs(gone));
    for (const live of interrupted) this.#interrupt(live);
    for (const live of this.#waiting.keys()) {
      if (live.aside && gone.includes(live.aside.rank)) live.aside = undefined;
    }
    if (culprit !== undefined) this.#blame(this.#live, culprit, reason);
    this.#resume(interrupted, reason);
    this.#boundWaits();
    this.#retryWaiting();
  }

  /** There is a unit more. */
  serve(unit: Unit): void {
    this.#parts.router.add(unit);
    this.#boundWaits();
    this.#retryWaiting();
  }

  /**
   * Gives ranks nothing more. Calls back when no request needs them: they finish what they have, or
   * others go on with what takes them longer than a while.
   */
  drain(ranks: readonly number[], emptied: () => void): void {
    this.#parts.router.drain(ranks);
    for (const live of this.#waiting.keys()) {
      if (live.aside && ranks.includes(live.aside.rank)) live.aside = undefined;
    }
    const drain: Drain = { ranks, emptied, cancel: () => undefined };
    this.#drains.add(drain);
    this.#moveLater(drain);
    this.#boundWaits();
    this.#lookAtDrains();
    this.#retryWaiting();
  }

  /** After a while others go on with what drained ranks have, once there are others. */
  #moveLater(drain: Drain): void {
    const { router, clock } = this.#parts;
    drain.cancel = clock.after(DRAIN_MS, () => {
      if (router.serves) this.#move(drain.ranks, "its unit is drained");
      else this.#moveLater(drain);
    });
  }

  /** Other ranks go on with what these compute. */
  #move(ranks: readonly number[], reason: string): void {
    const moved = [...this.#live].filter((live) => live.needs(ranks));
    for (const live of moved) this.#interrupt(live, undefined);
    this.#resume(moved, reason);
  }

  /** Once all that happens now has happened. */
  #lookAtDrains(): void {
    if (this.#drains.size === 0 || this.#looks) return;
    this.#looks = true;
    this.#parts.clock.soon(() => {
      this.#looks = false;
      const live = [...this.#live];
      for (const drain of this.#drains) {
        if (live.some((each) => each.needs(drain.ranks))) continue;
        this.#drains.delete(drain);
        drain.cancel();
        drain.emptied();
      }
    });
  }

  /** Ends all that is live. */
  fail(code: string, message: string): void {
    for (const live of this.#live) this.#fail(live, code, message);
  }

  /** Gives a request to ranks, or has it wait for some. */
  #place(live: LiveRequest): void {
    const { router, ranks } = this.#parts;
    const request = this.#hashed.withKeys(live.given);
    live.given = request;
    if (live.mustBeAlone) live.aside ??= router.setAside(live.failedOn);
    const route = live.mustBeAlone
      ? live.aside?.route(request)
      : router.route(request, live.failedOn);
    if (!route) {
      this.#wait(live);
      return;
    }
    this.#waitNoMore(live);
    const handle = this.#nextHandle++;
    const { rank, decodeRank, borrows } = route;
    const asked = this.#parts.now();
    live.begin(handle, route, this.#journeys.begin({ number: handle, rank, decodeRank, asked }));
    this.#attempts.set(handle, live);
    if (decodeRank === undefined) {
      ranks[rank].tell({ kind: "generate", handle, request });
      return;
    }
    ranks[decodeRank].tell({ kind: "expect", handle, request, prefillRank: rank });
    const reads = borrows && { borrows };
    ranks[rank].tell({ kind: "generate", handle, request, decodeRank, ...reads });
  }

  /** Until there is a rank for it. */
  #wait(live: LiveRequest): void {
    if (!this.#waiting.has(live)) this.#waiting.set(live, this.#boundWait(live));
  }

  /** Requests wait without end only while some unit serves. */
  #boundWait(live: LiveRequest): () => void {
    const { router, clock } = this.#parts;
    if (router.serves) return () => undefined;
    const reason = `no unit serves, and none came within ${WAIT_MS / 1000} s`;
    return clock.after(WAIT_MS, () => this.#fail(live, "rank_lost", reason));
  }

  /** When units begin to serve, or cease to. */
  #boundWaits(): void {
    if (this.#served === this.#parts.router.serves) return;
    this.#served = !this.#served;
    for (const [live, cancel] of this.#waiting) {
      cancel();
      this.#waiting.set(live, this.#boundWait(live));
    }
  }

  #waitNoMore(live: LiveRequest): void {
    this.#waiting.get(live)?.();
    this.#waiting.delete(live);
  }

  #tell(live: LiveRequest, event: TimedEvent): void {
    live.tell(event);
    if (event.kind === "token") this.#tokens.decode++;
    // After its first token a request may need its prefill rank no more.
    this.#lookAtDrains();
    if (event.kind === "token") this.#askForMask(live, event.token);
    if (event.kind === "finished") this.#end(live, "finished");
  }

  /** While the step computes of which the next token is chosen. */
  #askForMask(live: LiveRequest, token: number): void {
    if (!live.masks) return;
    this.#followed.add(live);
    const unknown = live.masks.follow(token);
    void unknown?.then(
      () => {
        this.#followed.add(live);
        this.#parts.clock.soon(() => this.#tellMasks());
      },
      (error: Error) => this.#fail(live, "constraint_failed", error.message),
    );
  }

  /** A rank computes tokens in case they come. */
  hearGuesses(rank: number, guesses: Uint32Array): void {
    for (let at = 0; at < guesses.length;) {
      const [handle, length, count] = guesses.subarray(at, (at += 3));
      const tokens = Array.from(guesses.subarray(at, (at += count)));
      const live = this.#attempts.get(handle);
      if (!live?.masks || live.computingRank !== rank) continue;
      live.masks.guess(length, tokens);
      this.#followed.add(live);
    }
    this.#tellMasks();
  }

  /** All that ranks do not know yet; of an answer whose next mask is still to come later. */
  #tellMasks(): void {
    for (const { masks, attempt } of this.#followed) {
      if (!masks || !attempt) continue;
      const { rank, decodeRank = rank } = attempt.route;
      const untold = masks.takeUntold();
      if (untold) this.#masks.add(decodeRank, attempt.handle, untold);
    }
    this.#followed.clear();
    for (const [rank, masks] of this.#masks.take()) {
      this.#parts.ranks[rank].tell({ kind: "masks", masks });
    }
  }

  #hearFailures(rank: number, failures: ReadonlyMap<LiveRequest, Failure>): void {
    const interrupted: LiveRequest[] = [];
    let reason = "";
    for (const [live, { code, message }] of failures) {
      if (!passing.has(code)) {
        this.#fail(live, code, message);
        continue;
      }
      reason = `rank ${rank}: ${message}`;
      this.#interrupt(live, code === STEP_FAILED ? rank : undefined);
      if (code === STEP_FAILED) this.#blame([live], rank, reason);
      interrupted.push(live);
    }
    this.#resume(interrupted, reason);
  }

  /** What its ranks still have of a request is dropped; `at`: the one that failed while it computed it. */
  #interrupt(live: LiveRequest, at?: number): void {
    live.interrupt(at);
    this.#withdraw(live);
  }

  #blame(requests: Iterable<LiveRequest>, rank: number, reason: string): void {
    for (const live of requests) {
      if (!live.blame(rank)) continue;
      const message = `${reason}; this was the third time, and the request was alone on the rank`;
      this.#fail(live, "request_failed_thrice", message);
    }
  }

  #resume(interrupted: readonly LiveRequest[], reason: string): void {
    const moved = interrupted.filter(({ isOver }) => !isOver);
    for (const live of moved) {
      if (live.losses > MOST_LOSSES) {
        this.#fail(live, "rank_lost", `${reason}; lost for the ${live.losses}th time`);
      } else void this.#resumeOne(live);
    }
    if (moved.length > 0) this.#parts.moved(moved.length, reason);
  }

  async #resumeOne(live: LiveRequest): Promise<void> {
    const wait = RETRY_MS * (live.losses - 1);
    if (wait > 0) await new Promise<void>((resolve) => this.#parts.clock.after(wait, resolve));
    const mask = await live.masks?.next;
    if (live.isOver) return;
    live.continueWith(mask);
    this.#place(live);
  }

  #fail(live: LiveRequest, code: string, message: string): void {
    if (live.isOver) return;
    live.events.push({ kind: "failed", code, message, time: this.#parts.now() });
    this.#end(live);
  }

  /** Ranks that have `finished` it hold nothing of it; others are told that it is over. */
  #end(live: LiveRequest, outcome?: "finished"): void {
    if (live.isOver) return;
    live.isOver = true;
    this.#live.delete(live);
    this.#waitNoMore(live);
    this.#withdraw(live, outcome);
  }

  #withdraw(live: LiveRequest, outcome?: "finished"): void {
    const { attempt, aside } = live;
    live.attempt = undefined;
    live.aside = undefined;
    if (attempt) {
      const { handle, route, journey } = attempt;
      if (journey) journey.ended = this.#parts.now();
      this.#attempts.delete(handle);
      route.release();
      for (const rank of [route.rank, route.decodeRank]) {
        if (rank !== undefined && !outcome)
          this.#parts.ranks[rank].tell({ kind: "cancel", handle });
      }
    }
    aside?.release();
    this.#lookAtDrains();
    this.#retryWaiting();
  }

  /** Some rank may have become free. */
  #retryWaiting(): void {
    if (this.#waiting.size === 0 || this.#retries) return;
    this.#retries = true;
    this.#parts.clock.soon(() => {
      this.#retries = false;
      for (const live of this.#waiting.keys()) this.#place(live);
    });
  }
}
