import { logprobs, PAGE_TOKENS, sample } from "../kernels/index.ts";
import { ContextCache, PagePool, type ContextCacheOptions } from "../kv-cache/index.ts";
import type { KvPool, Model, StepBatch } from "../model/index.ts";
import type {
  EngineLimits,
  EngineStats,
  FinishReason,
  GenerationEvent,
  GenerationRequest,
  HandledEvent,
} from "./messages.ts";
import { Scheduler, type StepPart } from "./scheduler.ts";
import { Sequence } from "./sequence.ts";

export interface CoreOptions {
  readonly model: Model;
  /** KV pages of the rank. */
  readonly pages: number;
  /** Prompt and generated tokens together: at most, and by default, what the model and pages hold. */
  readonly maxModelLen?: number;
  /** Tokens from here on are never generated: rows of the vocabulary that no token uses. */
  readonly usableTokens?: number;
  /** Where blocks are kept outside the rank's pool; nowhere if not given. */
  readonly contextCache?: Omit<ContextCacheOptions, "kv" | "pages">;
}

/** One rank's engine: requests in, a step at a time, events out. */
export class EngineCore {
  readonly limits: EngineLimits;
  readonly #model: Model;
  readonly #kv: KvPool;
  readonly #pool: PagePool;
  readonly #contextCache: ContextCache | undefined;
  readonly #scheduler: Scheduler;
  readonly #usableTokens: number;
  /** Live requests by handle. */
  readonly #sequences = new Map<number, Sequence>();
  #events: HandledEvent[] = [];
  /** Ends the wait of a step that has nothing to compute. */
  #wake: () => void = () => undefined;
  #steps = 0;
  #promptTokens = 0;
  #hitTokens = 0;
  #generatedTokens = 0;

  constructor({ model, pages, maxModelLen, usableTokens, contextCache }: CoreOptions) {
    const { maxPositions, vocabSize, eosTokens } = model.config;
    const fits = Math.min(maxPositions, pages * PAGE_TOKENS);
    expectWhole("maxModelLen", maxModelLen ?? fits, 2);
    expectWhole("usableTokens", usableTokens ?? vocabSize, 1);
    this.limits = { maxModelLen: Math.min(maxModelLen ?? fits, fits), vocabSize, eosTokens };
    this.#usableTokens = Math.min(usableTokens ?? vocabSize, vocabSize);
    this.#model = model;
    this.#kv = model.createKvPool(pages);
    this.#pool = new PagePool(pages);
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
      waiting: this.#scheduler.waiting,
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

  /** Takes a request, or answers it with a `failed` event that names the field. */
  submit(handle: number, request: GenerationRequest): void {
    const problem = this.#problemWith(request);
    if (problem) {
      this.#publish(handle, { kind: "failed", code: "invalid_request", message: problem });
      return;
    }
    const sequence = new Sequence(handle, request);
    this.#sequences.set(handle, sequence);
    this.#scheduler.add(sequence);
    this.#wake();
  }

  /** Forgets a request and frees its pages at once, in the middle of a step too. */
  cancel(handle: number): void {
    const sequence = this.#sequences.get(handle);
    if (sequence) this.#end(sequence);
    this.#wake();
  }

  /** Resolves when the context cache has written what was computed so far. */
  async flush(): Promise<void> {
    await this.#contextCache?.flush();
  }

  /**
   * One step of the unit: plan, compute, sample, tell. While every live request is being fetched
   * from the context cache it waits, until one is or another comes or leaves.
   */
  async step(): Promise<readonly HandledEvent[]> {
    const parts = this.#scheduler.plan();
    if (parts.length > 0) {
      this.#announce(parts);
      const logits = await this.#compute(parts);
      if (logits) this.#advance(parts, logits);
      this.#steps++;
    } else if (!this.idle && this.#events.length === 0) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const events = this.#events;
    this.#events = [];
    return events;
  }

  #problemWith({ prompt, maxTokens, sampling }: GenerationRequest): string | undefined {
    const { maxModelLen, vocabSize } = this.limits;
    const outside = (token: number) => !Number.isInteger(token) || token < 0 || token >= vocabSize;
    if (prompt.length === 0) return "prompt: expected at least one token";
    if (prompt.length >= maxModelLen) {
      return (
        `prompt: ${prompt.length} tokens leave no room in a context of ${maxModelLen} ` +
        `(the KV pool has ${this.#pool.pages} pages of ${PAGE_TOKENS} tokens)`
      );
    }
    const wrong = prompt.find(outside);
    if (wrong !== undefined) {
      return `prompt: expected tokens below ${vocabSize}, got ${wrong}`;
    }
    if (!Number.isInteger(maxTokens) || maxTokens < 1) {
      return `maxTokens: expected a positive whole number, got ${maxTokens}`;
    }
    const biased = Object.keys(sampling.logitBias).map(Number).find(outside);
    if (biased !== undefined) {
      return `logitBias: expected tokens below ${vocabSize}, got ${biased}`;
    }
    return undefined;
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

  /** Logits of the parts that reach their sequence's end; undefined if the step failed. */
  async #compute(parts: readonly StepPart[]): Promise<Float32Array | undefined> {
    try {
      return await this.#model.forward(batchOf(parts), this.#kv);
    } catch (error) {
      for (const { sequence } of parts) if (this.#isLive(sequence)) this.#fail(sequence, error);
      return undefined;
    }
  }

  /** Samples the sequences whose end was reached. Any may have been cancelled while computing. */

  #advance(parts: readonly StepPart[], logits: Float32Array): void {
    const { vocabSize } = this.limits;
    let row = 0;
    for (const part of parts) {
      const at = (part.last ? row++ : row) * vocabSize;
      if (!this.#isLive(part.sequence)) continue;
      this.#scheduler.complete(part);
      if (!part.last) continue;
      try {
        this.#appendToken(part.sequence, logits.subarray(at, at + this.#usableTokens));
      } catch (error) {
        this.#fail(part.sequence, error);
      }
    }
  }

  #appendToken(sequence: Sequence, logits: Float32Array): void {
    const { request, tokens, promptLength } = sequence;
    const { choice, sampling, topLogprobs } = request;
    const token = sample(logits, sampling, { tokens, promptLength, choice });
    const { logprob, top } =
      topLogprobs === undefined
        ? { logprob: undefined, top: [] }
        : logprobs(logits, token, topLogprobs);
    tokens.push(token);
    this.#generatedTokens++;
    const reported = logprob === undefined ? {} : { logprob };
    this.#publish(sequence.handle, { kind: "token", token, top, ...reported });
    const reason = this.#finishReason(sequence, token);
    if (!reason) return;
    this.#publish(sequence.handle, { kind: "finished", reason });
    this.#end(sequence);
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
    this.#end(sequence);
  }

  #end(sequence: Sequence): void {
    this.#scheduler.remove(sequence);
    this.#sequences.delete(sequence.handle);
  }
}

function expectWhole(name: string, value: number, least: number): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new RangeError(`${name}: expected a whole number of at least ${least}, got ${value}`);
}

/** Lays the parts' rows out as one batch; only a context's last row needs logits. */
function batchOf(parts: readonly StepPart[]): StepBatch {
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  const tableStride = Math.max(...parts.map(({ sequence }) => sequence.pages.length));
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
