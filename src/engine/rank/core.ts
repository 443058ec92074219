import { PeerLostError, systemClock, type Clock, type Transport } from "../../cluster/index.ts";
import type { TokenChoice } from "../../kernels/index.ts";
import { ContextCache, decodeTransfer, PagePool, withLoans } from "../../kv-cache/index.ts";
import type { KvPool, StepBatch } from "../../model/index.ts";
import { waitFor } from "../../trace/index.ts";
import { PrefillReceiver } from "./prefill-receiver.ts";
import { PrefillSender } from "./prefill-sender.ts";
import type {
  AskedRequest,
  EngineLimits,
  EngineStats,
  GenerationRequest,
  HandledEvent,
} from "../messages.ts";
import type { MaskColumns } from "../mask-columns.ts";
import { admitted, problemWith } from "../requests.ts";
import type { UnitClock } from "./unit.ts";
import type { CoreOptions, Speculator, StepComputer } from "./core-options.ts";
import { Drafter } from "./drafter.ts";
import { FailedSteps } from "./failed-steps.ts";
import { guessesOf, Masks } from "./masks.ts";
import { boundedProposals } from "./proposal-room.ts";
import { RequestNews } from "./request-news.ts";
import { Scheduler, type StepPart } from "./scheduler.ts";
import { Sequence } from "./sequence.ts";
import { expectWhole, limitsOf } from "./rank-limits.ts";
import { standingTokens, type Choices, type StandingToken } from "./standing-tokens.ts";
import { layOut } from "./step-batch.ts";
import { waitForWork } from "./wait-for-work.ts";

/** What a proposal turns out to be after which nothing is known. */
const NO_TOKEN = -1;

/** One rank's engine: requests in, a step at a time, events out. */
export class EngineCore {
  readonly limits: EngineLimits;
  readonly #model: StepComputer;
  readonly #kv: KvPool;
  readonly #pool: PagePool;
  readonly #contextCache: ContextCache | undefined;
  readonly #scheduler: Scheduler;
  readonly #usableTokens: number;
  readonly #speculation: Speculator | undefined;
  readonly #drafter: Drafter | undefined;
  readonly #unit: UnitClock | undefined;
  readonly #sender: PrefillSender | undefined;
  readonly #receiver: PrefillReceiver;
  readonly #masks: Masks;
  readonly #clock: Clock;
  /** Why ranks that hand over to this one, or take over, are lost. */
  readonly #lostRanks = new Map<number, string>();
  /** Live requests by handle. */
  readonly #sequences = new Map<number, Sequence>();
  readonly #news = new RequestNews();
  /** Ends the wait of a step that has nothing to compute. */
  #wake: () => void = () => undefined;
  readonly #failed: FailedSteps;
  #steps = 0;

  constructor(options: CoreOptions) {
    const { model, pages, usableTokens, unit, transport, contextCache, speculation } = options;
    const { vocabSize } = model.config;
    expectWhole("usableTokens", usableTokens ?? vocabSize, 1);
    this.limits = limitsOf(model.config, options);
    this.#usableTokens = Math.min(usableTokens ?? vocabSize, vocabSize);
    this.#model = model;
    this.#kv = model.createKvPool(pages);
    this.#pool = new PagePool(pages);
    this.#unit = unit;
    this.#clock = options.clock ?? systemClock;
    this.#masks = new Masks(this.#clock, model.tracer, {
      find: (handle) => this.#sequences.get(handle),
      fail: (sequence, message) => this.#fail(sequence, "mask_late", message),
    });
    this.#failed = new FailedSteps(unit !== undefined);
    this.#sender = transport && this.#createSender(transport);
    this.#receiver = this.#createReceiver(transport);
    this.#contextCache = contextCache && new ContextCache({ ...contextCache, kv: this.#kv, pages });
    const listener = {
      onAdmitted: (sequence: Sequence) => this.#agree(sequence),
      onFetched: () => this.#wake(),
    };
    this.#speculation = speculation;
    this.#drafter =
      model.mtp && new Drafter(model.mtp, this.#kv, model.config.hiddenSize, this.#usableTokens);
    this.#scheduler = new Scheduler(this.#pool, model.maxRows, {
      cache: this.#contextCache,
      listener,
      propose: speculation && boundedProposals(speculation, this.limits.maxModelLen),
      keepsStates: model.mtp !== undefined,
    });
  }

  /** Whether there is nothing to compute and nothing to tell. */
  get idle(): boolean {
    return this.#sequences.size === 0 && this.#news.isEmpty;
  }

  get stats(): EngineStats {
    return {
      waiting: this.#sequences.size - this.#scheduler.running,
      running: this.#scheduler.running,
      pages: this.#pool.pages,
      pagesInUse: this.#pool.inUse,
      pagesCached: this.#pool.cached,
      ...{ steps: this.#steps, ...this.#news.counts },
      preemptions: this.#scheduler.preemptions,
      ...(this.#sender && { handedOver: this.#sender.handedOver }),
      ...(this.#contextCache && {
        contextCache: withLoans(this.#contextCache.stats, this.#receiver.lent),
      }),
    };
  }

  /**
   * Takes a request, or answers it with a `failed` event that names the field. With a decode rank
   * this one computes the prompt and the first token, and hands over; it `borrows` blocks that it lacks.
   */
  submit(handle: number, asked: AskedRequest, decodeRank?: number, borrows = false): void {
    if (!this.#refuses(handle, asked, decodeRank)) {
      const sequence = new Sequence(handle, admitted(asked), decodeRank);
      sequence.borrows = borrows && sequence.goesOn;
      this.#sequences.set(handle, sequence);
      this.#scheduler.add(sequence);
    } else if (decodeRank !== undefined) this.#sender?.abandon(handle, decodeRank);
    this.#wake();
  }

  /** Expects a sequence that a prefill rank computes and hands over. */
  expect(handle: number, request: GenerationRequest, prefillRank: number): void {
    const refused = this.#refuses(handle, request, prefillRank);
    const sequence = refused ? undefined : new Sequence(handle, request);
    if (sequence) {
      sequence.arriving = true;
      this.#sequences.set(handle, sequence);
    }
    if (!this.#lostRanks.has(prefillRank)) this.#receiver.expect(handle, prefillRank, sequence);
    this.#wake();
  }

  /**
   * Takes what another rank sent about a hand-over.
   * @throws TransferError for what it should not have sent
   */
  receive(rank: number, transfer: Uint8Array): void {
    const message = decodeTransfer(transfer);
    if (message.kind === "grant") this.#sender?.grant(message.handle, message.first);
    else if (message.kind === "lent") this.#sender?.borrow(rank, message);
    else this.#receiver.accept(rank, message);
    this.#wake();
  }

  /** Another rank is gone, and with it what it was still to hand over or take over. */
  lose(rank: number, reason: string): void {
    this.#lostRanks.set(rank, reason);
    const orphans = this.#receiver.lose(rank);
    const leaving = [...this.#sequences.values()].filter(({ decodeRank }) => decodeRank === rank);
    for (const sequence of [...orphans, ...leaving]) this.#fail(sequence, "rank_lost", reason);
    this.#wake();
  }

  /** Tokens that may come at places of constrained sequences. */
  allow(masks: MaskColumns): void {
    this.#masks.hear(masks);
    this.#wake();
  }

  /** Forgets a request and frees its pages at once, in the middle of a step too. */
  cancel(handle: number): void {
    const sequence = this.#sequences.get(handle);
    if (sequence) this.#drop(sequence);
    this.#masks.changed();
    this.#wake();
  }

  /** Resolves when the context cache has written what was computed so far. */
  async flush(): Promise<void> {
    await this.#contextCache?.flush();
  }

  /**
   * One step of the unit: plan, compute, sample, tell. A rank without rows waits for some, or joins
   * the step that another rank of its unit calls. Rejects when the rank can go on no more.
   * @param tellGuesses told what constrained sequences are guessed to go on with, before that is computed
   */
  async step(tellGuesses?: (guesses: Uint32Array) => void): Promise<readonly HandledEvent[]> {
    const parts = this.#scheduler.plan();
    const waits = parts.length === 0 && this.#news.isEmpty && (this.#unit || !this.idle);
    const called = waits && (await this.#waitForWork());
    if (parts.length > 0 || called) await this.#computeStep(parts, tellGuesses);
    return this.#news.take();
  }

  async #computeStep(
    planned: readonly StepPart[],
    tellGuesses?: (guesses: Uint32Array) => void,
  ): Promise<void> {
    const parts = planned.some(({ drafts }) => drafts > 0) ? await this.#draft(planned) : planned;
    const guesses = guessesOf(parts);
    if (guesses.length > 0) tellGuesses?.(guesses);
    // Before the unit is heard: a cancellation meanwhile may take a sequence's pages.
    const { batch, choices } = layOut(parts);
    const hasPrompts = parts.some(({ rows, proposed }) => rows > proposed.length + 1);
    const own = { rows: batch.rows, hasPrompts };
    const joined = this.#unit && waitFor(this.#model.tracer, "UNIT", this.#unit.join(own));
    const unitRows = (await joined) ?? batch.rows;
    if (unitRows === 0) {
      this.#speculation?.endStep(0);
      return;
    }
    const span = this.#model.tracer.beginStep(this.#steps++, batch.rows);
    for (const { sequence } of parts) this.#news.started(sequence);
    const computed = hasPrompts ? this.#contextCache?.timed(batch.rows) : undefined;
    const chosen = await this.#compute(parts, batch, choices);
    if (chosen) computed?.();
    this.#unit?.computed();
    if (chosen) this.#advance(parts, chosen);
    this.#speculation?.endStep(chosen ? batch.rows : 0);
    this.#model.tracer.end(span);
  }

  /** Whether the wait ended because the unit steps. */
  #waitForWork(): Promise<boolean> {
    const work = waitForWork(this.#unit, (wake) => (this.#wake = wake));
    return waitFor(this.#model.tracer, this.idle ? "REQUESTS" : this.#scheduler.waitsFor, work);
  }

  #createSender(transport: Transport): PrefillSender {
    return new PrefillSender(transport, this.#kv, this.#clock, {
      onLent: (...loan) => {
        this.#scheduler.takeLoan(...loan);
        this.#wake();
      },
      onHandedOver: (sequence) => {
        if (this.#isLive(sequence)) this.#end(sequence);
        this.#wake();
      },
      onFailed: (sequence, error) => this.#failTransfer(sequence, error),
    });
  }

  #createReceiver(transport: Transport | undefined): PrefillReceiver {
    return new PrefillReceiver(transport, this.#kv, this.#clock, {
      onOffered: (sequence) => this.#scheduler.add(sequence),
      onArrived: (sequence, token) => {
        sequence.started = true;
        sequence.append(token);
        this.#scheduler.settle(sequence);
      },
      onAbandoned: (sequence) => this.#end(sequence),
      onFailed: (sequence, error) => this.#failTransfer(sequence, error),
    });
  }

  /** Whether a request is answered with what is wrong; `otherRank` has a part in it. */
  #refuses(handle: number, asked: AskedRequest, otherRank?: number): boolean {
    const lost = otherRank === undefined ? undefined : this.#lostRanks.get(otherRank);
    const message = lost ?? problemWith(asked, this.limits);
    if (message === undefined) return false;
    const code = lost === undefined ? "invalid_request" : "rank_lost";
    this.#news.failed(handle, code, message);
    return true;
  }

  /** A sequence has pages: the rank that has its prompt, or will take it over, is told so. */
  #agree(sequence: Sequence): void {
    const { arriving, decodeRank } = sequence;
    if (arriving) void this.#receiver.grant(sequence);
    else if (decodeRank !== undefined && sequence.goesOn) {
      this.#sender?.offer(sequence, decodeRank);
    }
  }

  /** The parts whose sequences are still live, with tokens drafted for those that want some. */
  async #draft(planned: readonly StepPart[]): Promise<readonly StepPart[]> {
    const drafter = this.#drafter as Drafter;
    const onPass = (sequences: number) => this.#speculation?.endPass(sequences);
    const drafted = await this.#orFail(planned, () => drafter.draft(planned, onPass));
    return this.#liveOf(drafted ?? []);
  }

  /** Tokens of the parts that reach their sequence's end; undefined if the step failed. */
  async #compute(
    parts: readonly StepPart[],
    batch: StepBatch,
    choices: readonly TokenChoice[],
  ): Promise<Choices | undefined> {
    let settled = choices;
    const settle = async () => (settled = await this.#masks.settled(parts, choices));
    const onLayer = (layer: number) => this.#sender?.completeLayer(this.#liveOf(parts), layer);
    const chosen = await this.#orFail(parts, async () => {
      const tokens = await this.#model.choose(batch, this.#kv, {
        ...{ usableTokens: this.#usableTokens, order: this.#unit?.order ?? "whole" },
        choices: this.#masks.concern(parts) ? settle : choices,
        ...(this.#unit && { onLogits: () => this.#unit?.computed() }),
        ...(this.#sender?.sendsLayersOf(parts) && { onLayer }),
      });
      await this.#drafter?.follow(parts);
      return tokens;
    });
    if (!chosen) return undefined;
    this.#failed.forget();
    return { choices: settled, chosen };
  }

  /** What is computed for the parts; undefined if that failed, which ends their requests. */
  async #orFail<Result>(
    parts: readonly StepPart[],
    compute: () => Promise<Result>,
  ): Promise<Result | undefined> {
    try {
      return await compute();
    } catch (error) {
      this.#failed.count(error as Error);
      for (const { sequence } of this.#liveOf(parts)) this.#failStep(sequence, error);
      return undefined;
    }
  }

  #liveOf(parts: readonly StepPart[]): readonly StepPart[] {
    return parts.filter(({ sequence }) => this.#isLive(sequence));
  }

  /** Takes in the chosen tokens. Any sequence may have been cancelled while computing. */
  #advance(parts: readonly StepPart[], chosen: Choices): void {
    let row = 0;
    for (const part of parts) {
      const { sequence, rows, proposed, logitRows } = part;
      const first = row;
      row += logitRows.length;
      if (!this.#isLive(sequence)) continue;
      this.#scheduler.complete({ sequence, rows: rows - proposed.length });
      this.#sender?.complete(sequence);
      try {
        this.#appendTokens(part, standingTokens(part, first, chosen));
      } catch (error) {
        this.#failStep(sequence, error);
      }
    }
  }

  #appendTokens({ sequence, proposed, drafts }: StepPart, standing: Iterable<StandingToken>): void {
    this.#news.proposed(proposed.length);
    const taken: number[] = [];
    for (const token of standing) {
      const inVain = token.proposed && !token.goesOn;
      taken.push(inVain ? NO_TOKEN : token.choice.token);
      this.#appendToken(sequence, token);
      if (!this.#isLive(sequence)) break;
      if (token.goesOn) this.#scheduler.complete({ sequence, rows: 1 });
    }
    this.#speculation?.learn(sequence, taken, proposed, drafts > 0);
  }

  #appendToken(sequence: Sequence, standing: StandingToken): void {
    const { token } = standing.choice;
    sequence.append(token);
    this.#news.token(sequence.handle, standing);
    const reason = sequence.endsWith(token, this.limits.maxModelLen);
    if (reason) {
      this.#news.finished(sequence.handle, reason);
      this.#drop(sequence);
    } else if (sequence.decodeRank !== undefined) {
      this.#scheduler.hold(sequence);
      this.#sender?.handOver(sequence, token);
    }
  }

  #isLive(sequence: Sequence): boolean {
    return this.#sequences.get(sequence.handle) === sequence;
  }

  #failStep(sequence: Sequence, error: unknown): void {
    this.#fail(sequence, "step_failed", (error as Error).message);
  }

  /** A sequence could not be handed over. */
  #failTransfer(sequence: Sequence, error: Error): void {
    if (!this.#isLive(sequence)) return;
    const code = error instanceof PeerLostError ? "rank_lost" : "handover_failed";
    this.#fail(sequence, code, error.message);
    this.#wake();
  }

  #fail(sequence: Sequence, code: string, message: string): void {
    this.#news.failed(sequence.handle, code, message);
    this.#drop(sequence);
  }

  /** Ends a sequence that no other rank is to go on with. */
  #drop(sequence: Sequence): void {
    const { handle, decodeRank } = sequence;
    if (decodeRank !== undefined) this.#sender?.abandon(handle, decodeRank);
    this.#end(sequence);
  }

  #end(sequence: Sequence): void {
    this.#scheduler.remove(sequence);
    this.#receiver.cancel(sequence.handle);
    this.#sequences.delete(sequence.handle);
  }
}
