import type { Transport } from "../../cluster/index.ts";
import { PAGE_TOKENS, type ChosenToken, type TokenChoice } from "../../kernels/index.ts";
import { ContextCache, PagePool, type ContextCacheOptions } from "../../kv-cache/index.ts";
import type { ChosenTokens, KvPool, Model, StepBatch } from "../../model/index.ts";
import { PrefillReceiver, PrefillSender, type HandedOver } from "./handover.ts";
import type {
  AskedRequest,
  EngineLimits,
  EngineStats,
  FinishReason,
  GenerationEvent,
  GenerationRequest,
  HandledEvent,
} from "../messages.ts";
import { admitted, problemWith } from "../requests.ts";
import type { UnitClock } from "./unit.ts";
import { Scheduler, type StepPart } from "./scheduler.ts";
import { Sequence } from "./sequence.ts";

/** Who computes a step, and where its KV lies: a model, or a script of one. */
export type StepComputer = Pick<Model, "config" | "maxRows" | "tracer" | "createKvPool" | "choose">;

export interface CoreOptions {
  readonly model: StepComputer;
  /** KV pages of the rank. */
  readonly pages: number;
  /** Prompt and generated tokens together: at most, and by default, what the model and pages hold. */
  readonly maxModelLen?: number;
  /** Of a rank whose unit shares its experts. */
  readonly unit?: UnitClock;
  /** Of a rank that hands sequences over to others, or takes them. */
  readonly transport?: Transport;
  /** Tokens from here on are never generated: rows of the vocabulary that no token uses. */
  readonly usableTokens?: number;
  /** Where blocks are kept outside the rank's pool; nowhere if not given. */
  readonly contextCache?: Omit<ContextCacheOptions, "kv" | "pages">;
}

/** One rank's engine: requests in, a step at a time, events out. */
export class EngineCore {
  readonly limits: EngineLimits;
  readonly #model: StepComputer;
  readonly #kv: KvPool;
  readonly #pool: PagePool;
  readonly #contextCache: ContextCache | undefined;
  readonly #scheduler: Scheduler;
  readonly #usableTokens: number;
  readonly #unit: UnitClock | undefined;
  readonly #sender: PrefillSender | undefined;
  readonly #receiver: PrefillReceiver;
  /** Why prefill ranks are lost. */
  readonly #lostPrefill = new Map<number, string>();
  /** Live requests by handle. */
  readonly #sequences = new Map<number, Sequence>();
  #events: HandledEvent[] = [];
  /** Ends the wait of a step that has nothing to compute. */
  #wake: () => void = () => undefined;
  #steps = 0;
  #promptTokens = 0;
  #hitTokens = 0;
  #generatedTokens = 0;

  constructor(options: CoreOptions) {
    const { model, pages, maxModelLen, usableTokens, unit, transport, contextCache } = options;
    const { maxPositions, vocabSize, eosTokens } = model.config;
    const fits = Math.min(maxPositions, pages * PAGE_TOKENS);
    expectWhole("maxModelLen", maxModelLen ?? fits, 2);
    expectWhole("usableTokens", usableTokens ?? vocabSize, 1);
    const longest = Math.min(maxModelLen ?? fits, fits);
    this.limits = { maxModelLen: longest, vocabSize, eosTokens, pages };
    this.#usableTokens = Math.min(usableTokens ?? vocabSize, vocabSize);
    this.#model = model;
    this.#kv = model.createKvPool(pages);
    this.#pool = new PagePool(pages);
    this.#unit = unit;
    this.#sender = transport && new PrefillSender(transport, this.#kv);
    this.#receiver = new PrefillReceiver(this.#kv);
    this.#contextCache = contextCache && new ContextCache({ ...contextCache, kv: this.#kv, pages });
    const onFetched = () => this.#wake();
    this.#scheduler = new Scheduler(this.#pool, model.maxRows, this.#contextCache, onFetched);
  }

  /** Whether there is nothing to compute and nothing to tell. */
  get idle(): boolean {
    return this.#sequences.size === 0 && this.#events.length === 0;
  }

  get stats(): EngineStats {
    return {
      waiting: this.#scheduler.waiting + this.#receiver.arriving,
      running: this.#scheduler.running,
      pages: this.#pool.pages,
      pagesInUse: this.#pool.inUse,
      pagesCached: this.#pool.cached,
      steps: this.#steps,
      promptTokens: this.#promptTokens,
      hitTokens: this.#hitTokens,
      generatedTokens: this.#generatedTokens,
      preemptions: this.#scheduler.preemptions,
      ...(this.#contextCache && { contextCache: this.#contextCache.stats }),
    };
  }

  /**
   * Takes a request, or answers it with a `failed` event that names the field. With a decode rank
   * this one computes the prompt and the first token, and hands over.
   */
  submit(handle: number, asked: AskedRequest, decodeRank?: number): void {
    const problem = problemWith(asked, this.limits);
    if (problem) {
      this.#publish(handle, { kind: "failed", code: "invalid_request", message: problem });
      this.#sender?.abandon(handle, decodeRank);
      this.#wake();
      return;
    }
    this.#add(new Sequence(handle, admitted(asked), decodeRank));
  }

  /** Expects a sequence that a prefill rank computes and hands over. */
  expect(handle: number, request: GenerationRequest, prefillRank: number): void {
    const lost = this.#lostPrefill.get(prefillRank);
    if (lost !== undefined) this.#orphan(handle, lost);
    else this.#adopt(this.#receiver.expect(handle, request, prefillRank));
  }

  /** Takes what a prefill rank sent. */
  receive(prefillRank: number, transfer: Uint8Array): void {
    this.#adopt(this.#receiver.accept(prefillRank, transfer));
  }

  /** Ends what a prefill rank, now gone, was still to hand over. */
  losePrefill(rank: number, reason: string): void {
    this.#lostPrefill.set(rank, reason);
    for (const handle of this.#receiver.lose(rank)) this.#orphan(handle, reason);
  }

  /** Forgets a request and frees its pages at once, in the middle of a step too. */
  cancel(handle: number): void {
    const sequence = this.#sequences.get(handle);
    if (sequence) this.#drop(sequence);
    else this.#receiver.cancel(handle);
    this.#wake();
  }

  /** Resolves when the context cache has written what was computed so far. */
  async flush(): Promise<void> {
    await this.#contextCache?.flush();
  }

  /**
   * One step of the unit: plan, compute, sample, tell. A rank without rows waits for some, or joins
   * the step that another rank of its unit calls.
   */
  async step(): Promise<readonly HandledEvent[]> {
    const parts = this.#scheduler.plan();
    const waits = parts.length === 0 && this.#events.length === 0 && (this.#unit || !this.idle);
    const called = waits && (await this.#waitForWork());
    if (parts.length > 0 || called) await this.#computeStep(parts);
    const events = this.#events;
    this.#events = [];
    return events;
  }

  async #computeStep(parts: readonly StepPart[]): Promise<void> {
    // Before the unit is heard: a cancellation meanwhile may take a sequence's pages.
    const batch = batchOf(parts);
    if (this.#unit && (await this.#unit.join(batch.rows)) === 0) return;
    const span = this.#model.tracer.beginStep(this.#steps++, batch.rows);
    this.#announce(parts);
    const chosen = await this.#compute(parts, batch);
    if (chosen) this.#advance(parts, chosen);
    this.#model.tracer.end(span);
  }

  /** Whether the wait ended because the unit steps. */
  async #waitForWork(): Promise<boolean> {
    const left = new AbortController();
    const woken = new Promise<boolean>((resolve) => (this.#wake = () => resolve(false)));
    const called = this.#unit?.called(left.signal).then(() => true);
    const byUnit = await (called ? Promise.race([woken, called]) : woken);
    left.abort();
    return byUnit;
  }

  #add(sequence: Sequence): void {
    this.#sequences.set(sequence.handle, sequence);
    this.#scheduler.add(sequence);
    this.#wake();
  }

  #orphan(handle: number, message: string): void {
    this.#publish(handle, { kind: "failed", code: "rank_lost", message });
    this.#wake();
  }

  #adopt(whole: HandedOver | undefined): void {
    if (!whole) return;
    const sequence = new Sequence(whole.handle, whole.request);
    sequence.started = true;
    sequence.arrived = whole.kv;
    sequence.append(whole.token);
    this.#add(sequence);
  }

  /** Tells a request that computation began, and how much of its prompt the cache answered. */
  #announce(parts: readonly StepPart[]): void {
    for (const { sequence } of parts) {
      if (sequence.started) continue;
      sequence.started = true;
      this.#promptTokens += sequence.promptLength;
      this.#hitTokens += sequence.computed;
      this.#publish(sequence.handle, { kind: "started", hitTokens: sequence.computed });
    }
  }

  /** Tokens of the parts that reach their sequence's end; undefined if the step failed. */
  async #compute(parts: readonly StepPart[], batch: StepBatch): Promise<ChosenTokens | undefined> {
    const live = () => parts.filter(({ sequence }) => this.#isLive(sequence));
    const handsOver = parts.some(({ sequence }) => sequence.decodeRank !== undefined);
    const onLayer = (layer: number) => this.#sender?.sendLayer(live(), layer);
    try {
      return await this.#model.choose(batch, this.#kv, {
        choices: parts.filter(({ last }) => last).map(({ sequence }) => choiceOf(sequence)),
        usableTokens: this.#usableTokens,
        ...(handsOver && { onLayer }),
      });
    } catch (error) {
      // The other ranks of a unit would wait for this one's rows for ever.
      if (this.#unit) throw error;
      for (const { sequence } of parts) if (this.#isLive(sequence)) this.#fail(sequence, error);
      return undefined;
    }
  }

  /** Takes in the chosen tokens. Any sequence may have been cancelled while computing. */
  #advance(parts: readonly StepPart[], chosen: ChosenTokens): void {
    let row = 0;
    for (const part of parts) {
      const own = part.last ? row++ : row;
      if (!this.#isLive(part.sequence)) continue;
      this.#sender?.complete(part);
      this.#scheduler.complete(part);
      if (!part.last) continue;
      try {
        this.#appendToken(part.sequence, chosen(own));
      } catch (error) {
        this.#fail(part.sequence, error);
      }
    }
  }

  #appendToken(sequence: Sequence, { token, top, logprob }: ChosenToken): void {
    sequence.append(token);
    this.#generatedTokens++;
    const reported = logprob === undefined ? {} : { logprob };
    this.#publish(sequence.handle, { kind: "token", token, top, ...reported });
    const reason = this.#finishReason(sequence, token);
    if (reason) {
      this.#publish(sequence.handle, { kind: "finished", reason });
      this.#drop(sequence);
    } else if (sequence.decodeRank !== undefined) {
      this.#sender?.handOver(sequence, token);
      this.#end(sequence);
    }
  }

  #finishReason({ request, tokens, generated }: Sequence, token: number): FinishReason | undefined {
    if (request.stopTokens.includes(token)) return "stop";
    const full = generated >= request.maxTokens || tokens.length >= this.limits.maxModelLen;
    return full ? "length" : undefined;
  }

  #publish(handle: number, event: GenerationEvent): void {
    this.#events.push({ handle, event });
  }

  #isLive(sequence: Sequence): boolean {
    return this.#sequences.get(sequence.handle) === sequence;
  }

  #fail(sequence: Sequence, error: unknown): void {
    const { message } = error as Error;
    this.#publish(sequence.handle, { kind: "failed", code: "step_failed", message });
    this.#drop(sequence);
  }

  /** Ends a sequence that no other rank is to go on with. */
  #drop(sequence: Sequence): void {
    this.#sender?.abandon(sequence.handle, sequence.decodeRank);
    this.#end(sequence);
  }

  #end(sequence: Sequence): void {
    this.#scheduler.remove(sequence);
    this.#sequences.delete(sequence.handle);
  }
}

function choiceOf({ request, tokens, promptLength, sampling: state }: Sequence): TokenChoice {
  const { choice, sampling: parameters, topLogprobs } = request;
  return { tokens, promptLength, choice, parameters, state, topLogprobs };
}

function expectWhole(name: string, value: number, least: number): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new RangeError(`${name}: expected a whole number of at least ${least}, got ${value}`);
}

function rowsOf(parts: readonly StepPart[]): number {
  return parts.reduce((sum, part) => sum + part.rows, 0);
}

/** Lays the parts' rows out as one batch; only a context's last row needs logits. */
function batchOf(parts: readonly StepPart[]): StepBatch {
  const rows = rowsOf(parts);
  const tableStride = Math.max(0, ...parts.map(({ sequence }) => sequence.pages.length));
  const tokens = new Int32Array(rows);
  const positions = new Int32Array(rows);
  const rowStarts = new Int32Array(parts.length + 1);
  const pageTables = new Int32Array(parts.length * tableStride);
  const logitRows: number[] = [];
  parts.forEach(({ sequence, rows: count, last }, i) => {
    const start = rowStarts[i];
    for (let j = 0; j < count; j++) {
      tokens[start + j] = sequence.tokens[sequence.computed + j];
      positions[start + j] = sequence.computed + j;
    }
    rowStarts[i + 1] = start + count;
    pageTables.set(sequence.pages, i * tableStride);
    if (last) logitRows.push(start + count - 1);
  });
  return {
    rows,
    tokens,
    positions,
    rowStarts,
    pageTables,
    tableStride,
    logitRows: Int32Array.from(logitRows),
  };
}
