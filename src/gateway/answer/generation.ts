import type { GenerationEvent, GenerationRequest, SamplingParameters } from "../../engine/index.ts";
import type { Ticket } from "../admission.ts";
import { ChoiceOutput, type ChoiceDelta, type TokenReader } from "./choice-output.ts";
import type { EngineDriver } from "../engine-driver.ts";
import { ApiError, ClientGone, engineFailure } from "../errors.ts";
import { merge } from "./merge.ts";
import { readAhead } from "./read-ahead.ts";
import { StopStrings } from "./stop-strings.ts";
import { Meter, type ChoiceFinish, type GenerationEnd } from "../billing/index.ts";
import type { Constraint } from "../text/index.ts";
import type { Latencies } from "../status/index.ts";
import type { RequestTimes } from "../telemetry/index.ts";
import type { Usage } from "../wire.ts";

/** `choice` numbers the answer's choices: those of the first prompt, then of the second, … */
export type ChoiceEvent =
  | { readonly kind: "delta"; readonly choice: number; readonly delta: ChoiceDelta }
  | {
      readonly kind: "finished";
      readonly choice: number;
      readonly reason: ChoiceFinish;
      /** The stop string that has ended it. */
      readonly stopString?: string;
    };

export interface GenerationOptions {
  readonly engine: EngineDriver;
  readonly ticket: Ticket;
  /** Of the request, which they are told in. */
  readonly times: RequestTimes;
  readonly latencies: Latencies;
  /** Milliseconds. */
  readonly now: () => number;
  readonly id: string;
  /** Whose prefixes are shared. */
  readonly tenant: string;
  readonly prompts: readonly Uint32Array[];
  readonly choicesPerPrompt: number;
  /** Undefined: up to the context's end. */
  readonly maxTokens: number | undefined;
  /** They end an answer, and are not part of it. */
  readonly eosTokens: readonly number[];
  readonly stop: StopConditions;
  readonly sampling: SamplingParameters;
  readonly topLogprobs: number | undefined;
  readonly createReader: () => TokenReader;
  /** Of each choice; none where answers are free. */
  readonly constraints: readonly Constraint[];
  /** Events of one sequence that may wait to be told. */
  readonly unreadEvents: number;
  /** More of them wait: whoever reads the events is too slow. */
  readonly onUnread: () => void;
  /** Told once, when the last sequence has ended; the answer's last word waits for it. */
  readonly onEnd: (end: GenerationEnd) => Promise<void>;
}

/** What else ends an answer. */
export interface StopConditions {
  readonly tokens: readonly number[];
  readonly strings: readonly string[];
  /** Whether the answer tells what has ended it. */
  readonly told: boolean;
  /** The answer has no second call. */
  readonly afterFirstCall: boolean;
}

/** One admitted request: its sequences in the engine, their choices as text, and its bill. */
export class Generation {
  readonly #options: GenerationOptions;
  readonly #outputs: ChoiceOutput[] = [];
  readonly #meter: Meter;
  readonly #finishReasons: (ChoiceFinish | null)[];
  readonly #proposals = { accepted: 0, rejected: 0 };
  #ended: Promise<void> | undefined;

  constructor(options: GenerationOptions) {
    const { prompts, choicesPerPrompt, ticket } = options;
    this.#options = options;
    this.#meter = new Meter(prompts.map((tokens) => tokens.length));
    this.#finishReasons = prompts.flatMap(() => Array<null>(choicesPerPrompt).fill(null));
    // A client that leaves may leave nobody who reads the events to their end.
    const { signal } = ticket;
    const aborted = () => this.#end(signal.reason instanceof ApiError ? "failed" : "left");
    signal.addEventListener("abort", () => void aborted().catch(() => {}), { once: true });
  }

  /**
   * Every choice's events as they come; the last waits for `onEnd`. Leaving early frees the
   * engine's sequences.
   * @throws ApiError when the engine fails or the server shuts down, ClientGone when the client
   * left, and what `onEnd` rejects with.
   */
  async *events(): AsyncGenerator<ChoiceEvent> {
    const { ticket, prompts, choicesPerPrompt } = this.#options;
    const choices = prompts.flatMap((_, prompt) =>
      Array.from({ length: choicesPerPrompt }, (__, choice) => this.#choice(prompt, choice)),
    );
    let unfinished = choices.length;
    try {
      for await (const event of merge(choices)) {
        if (event.kind === "finished") {
          this.#finishReasons[event.choice] = event.reason;
          if (--unfinished === 0) await this.#end("complete");
        }
        yield event;
      }
    } catch (error) {
      await this.#end(error instanceof ClientGone ? "left" : "failed");
      throw error;
    } finally {
      ticket.release();
    }
  }

  /** Ends all sequences; whoever reads the events is told that the client has gone. */
  cancel(): void {
    this.#options.ticket.release();
  }

  /** What is billed so far. A computed prompt counts once however many choices it has. */
  usage(): Usage {
    const { hit, miss, output } = this.#meter.read();
    const reasoning = this.#outputs.reduce((sum, choice) => sum + choice.reasoningTokens, 0);
    return {
      prompt_tokens: hit + miss,
      completion_tokens: output,
      total_tokens: hit + miss + output,
      prompt_cache_hit_tokens: hit,
      prompt_cache_miss_tokens: miss,
      prompt_tokens_details: { cached_tokens: hit },
      completion_tokens_details: {
        reasoning_tokens: reasoning,
        accepted_prediction_tokens: this.#proposals.accepted,
        rejected_prediction_tokens: this.#proposals.rejected,
      },
    };
  }

  /** Says so once; the first word counts, and whoever ends it again waits for the same. */
  #end(outcome: GenerationEnd["outcome"]): Promise<void> {
    return (this.#ended ??= this.#options.onEnd({
      outcome,
      finishReasons: this.#finishReasons,
      usage: this.usage(),
      reading: { ...this.#meter.read(), ...this.#options.times.sums },
    }));
  }

  async *#choice(prompt: number, choiceOfPrompt: number): AsyncGenerator<ChoiceEvent> {
    const { eosTokens, stop, createReader, choicesPerPrompt } = this.#options;
    const unsaid = stop.told ? eosTokens : [...eosTokens, ...stop.tokens];
    const choice = prompt * choicesPerPrompt + choiceOfPrompt;
    const output = new ChoiceOutput(createReader(), new StopStrings(stop.strings, stop.told));
    this.#outputs.push(output);
    let callsTools = false;
    let refusesCall = false;
    const allowed = (said: readonly ChoiceDelta[]) => {
      const second = stop.afterFirstCall ? said.findIndex(beginsSecondCall) : -1;
      refusesCall = second >= 0;
      return refusesCall ? said.slice(0, second) : said;
    };
    const delta = (said: ChoiceDelta): ChoiceEvent => {
      callsTools ||= said.kind === "tool-call";
      return { kind: "delta", choice, delta: said };
    };

    for await (const event of this.#sequence(prompt, choiceOfPrompt)) {
      if (event.kind === "token") {
        if (unsaid.includes(event.token)) continue;
        yield* allowed(output.push(event)).map(delta);
        if (output.stopped || refusesCall) break;
      } else if (event.kind === "finished") {
        yield* allowed(output.end()).map(delta);
        const reason = event.reason === "stop" && callsTools ? "tool_calls" : event.reason;
        yield { kind: "finished", choice, reason };
        return;
      }
    }
    const { stopString } = output;
    if (stopString === undefined) yield { kind: "finished", choice, reason: "tool_calls" };
    else yield { kind: "finished", choice, reason: "stop", stopString };
  }

  /**
   * One sequence in the engine, counted when it is told and timed when it was heard; it ends in
   * `finished` or throws. What is computed again after a loss is counted apart, and told to nobody.
   */
  async *#sequence(prompt: number, choice: number): AsyncGenerator<GenerationEvent> {
    const { engine, ticket, latencies, now, unreadEvents, onUnread } = this.#options;
    const meter = this.#meter.sequence(prompt);
    const watch = latencies.sequence(now());
    const times = this.#options.times.sequence();
    const left = new AbortController();
    const signal = AbortSignal.any([ticket.signal, left.signal]);
    const constraint = this.#options.constraints[prompt * this.#options.choicesPerPrompt + choice];
    const request = this.#request(prompt, choice);
    const events = engine.generate(
      constraint ? { ...request, mask: constraint.first } : request,
      signal,
      constraint,
    );
    try {
      for await (const event of readAhead(events, unreadEvents, onUnread)) {
        ticket.signal.throwIfAborted();
        if (event.kind === "failed") throw engineFailure(event.code, event.message);
        if (event.kind === "resumed") {
          times.resume(event.recomputedTokens);
          continue;
        }
        if (event.kind === "started") {
          ticket.started();
          times.started(event.time);
          meter.started(event.hitTokens);
        } else if (event.kind === "token") {
          times.token(event.time);
          meter.token();
          watch.token(event.time);
          this.#proposals.accepted += Number(event.proposed);
          this.#proposals.rejected += event.refuted;
          if (meter.tokens === 1) ticket.decoding();
        }
        yield event;
        if (event.kind === "finished") return;
      }
      throw engineFailure("engine_ended", "the engine ended the sequence without finishing it");
    } catch (error) {
      if (!ticket.signal.aborted) throw error;
      const { reason } = ticket.signal;
      throw reason instanceof ApiError ? reason : new ClientGone();
    } finally {
      watch.end();
      left.abort();
    }
  }

  #request(prompt: number, choice: number): GenerationRequest {
    const { engine, id, tenant, prompts, maxTokens, eosTokens, stop, sampling, topLogprobs } =
      this.#options;
    const tokens = prompts[prompt];
    const room = engine.maxModelLen - tokens.length;
    return {
      id: `${id}-${prompt}-${choice}`,
      tenant,
      prompt: tokens,
      choice,
      maxTokens: Math.min(maxTokens ?? room, room),
      stopTokens: [...eosTokens, ...stop.tokens],
      sampling,
      ...(topLogprobs === undefined ? {} : { topLogprobs }),
    };
  }
}

const beginsSecondCall = (delta: ChoiceDelta) => delta.kind === "tool-call" && delta.index > 0;
