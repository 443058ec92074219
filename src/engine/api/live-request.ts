import type { GenerationRequest, TimedEvent } from "../messages.ts";
import type { Aside, Route } from "../routing/index.ts";
import { AnswerMasks, type Mask, type MaskSource } from "./answer-masks.ts";
import { EventQueue } from "./event-queue.ts";
import type { Journey } from "./journeys.ts";

/** What ranks do of a request, until one of them is lost. */
interface Attempt {
  /** Its own: what ranks still say of an earlier attempt is about nothing. */
  readonly handle: number;
  readonly route: Route;
  /** Where it is followed. */
  readonly journey: Journey | undefined;
  /**
   * What the decode rank has said before the first token, which the prefill rank says on another way;
   * undefined once nothing has to wait for that.
   */
  early: TimedEvent[] | undefined;
}

/** So many deaths of its ranks may be chance; then a request runs alone, so that it takes no other along. */
const CHANCE_FAULTS = 2;

/** A sequence that is not finished: what its reader was told, and which ranks go on with it. */
export class LiveRequest {
  /** Of a constrained answer. */
  readonly masks: AnswerMasks | undefined;
  readonly events = new EventQueue();
  /** As ranks are given it now: with the tokens told, and the mask of the next one. */
  given: GenerationRequest;
  attempt: Attempt | undefined;
  /** A rank that is kept for it alone. */
  aside: Aside | undefined;
  /** Attempts that came to nothing, whosever fault that was. */
  losses = 0;
  /** Ranks that failed by themselves while they computed it. */
  readonly failedOn = new Set<number>();
  isOver = false;
  readonly #asked: GenerationRequest;
  readonly #told: number[] = [];
  #faults = 0;
  #isStarted = false;
  /**
   * Ranks that computed this when an attempt came to nothing, and whether it was alone there: should one be
   * heard to have failed by itself, this may have been why. The word of one may come when the next is gone.
   */
  readonly #suspects = new Map<number, boolean>();

  constructor(request: GenerationRequest, masks: MaskSource | undefined) {
    this.#asked = request;
    this.given = request;
    this.masks = masks && new AnswerMasks(masks, request.mask, request.prompt.length);
  }

  /** Tokens of prompt and answer so far. */
  get length(): number {
    return this.#asked.prompt.length + this.#told.length;
  }

  get mustBeAlone(): boolean {
    return this.#faults >= CHANCE_FAULTS;
  }

  begin(handle: number, route: Route, journey: Journey | undefined): void {
    const early = route.decodeRank === undefined ? undefined : [];
    this.attempt = { handle, route, journey, early };
    this.masks?.beginAnew();
  }

  get computingRank(): number | undefined {
    if (!this.attempt) return undefined;
    const { route, early } = this.attempt;
    return early ? route.rank : (route.decodeRank ?? route.rank);
  }

  /** Whether it cannot go on without some ranks. After its first token the decode rank does so alone. */
  needs(gone: readonly number[]): boolean {
    if (!this.attempt) return false;
    const { route, early } = this.attempt;
    const { rank, decodeRank = rank } = route;
    return gone.includes(decodeRank) || (early !== undefined && gone.includes(rank));
  }

  /** What may be told, now that a rank of the attempt has said something. */
  inOrder(event: TimedEvent, rank: number): readonly TimedEvent[] {
    const attempt = this.attempt as Attempt;
    const { early, route } = attempt;
    if (!early) return [event];
    if (rank === route.decodeRank) {
      early.push(event);
      return [];
    }
    if (event.kind !== "token") return [event];
    attempt.early = undefined;
    return [event, ...early];
  }

  /** Tells the reader; of computation that begins again, what that costs. */
  tell(event: TimedEvent): void {
    if (event.kind === "token") {
      this.#told.push(event.token);
      this.#suspects.clear();
    }
    if (event.kind === "started" && this.#isStarted) {
      const recomputedTokens = this.given.prompt.length - event.hitTokens;
      this.events.push({ kind: "resumed", recomputedTokens, time: event.time });
      return;
    }
    this.#isStarted ||= event.kind === "started";
    this.events.push(event);
  }

  /** The attempt comes to nothing, whyever; `at` has computed it, and may do so until it hears of that. */
  interrupt(at = this.computingRank): void {
    if (at !== undefined) this.#suspects.set(at, this.aside !== undefined);
    this.losses++;
  }

  /**
   * A rank has failed by itself: this counts for those that it computed. True for one that it computed
   * alone because it had failed before.
   */
  blame(rank: number): boolean {
    const wasAlone = this.#suspects.get(rank);
    if (wasAlone === undefined) return false;
    this.#suspects.delete(rank);
    this.#faults++;
    this.failedOn.add(rank);
    return wasAlone;
  }

  /** Ranks are now to go on after the tokens told, the next one of those that a mask allows. */
  continueWith(mask: Mask): void {
    if (this.#told.length === 0) return;
    const { prompt: asked, generated = 0 } = this.#asked;
    const prompt = new Uint32Array(this.length);
    prompt.set(asked);
    prompt.set(this.#told, asked.length);
    const next = { prompt, generated: generated + this.#told.length, ...(mask && { mask }) };
    this.given = { ...this.given, ...next };
  }
}
