import type { GenerationEvent, GenerationRequest, SamplingParameters } from "../engine/index.ts";
import type { Ticket } from "./admission.ts";
import { ChoiceOutput, type ChoiceDelta, type TokenReader } from "./choice-output.ts";
import type { EngineDriver } from "./engine-driver.ts";
import { ApiError, ClientGone, engineFailure } from "./errors.ts";
import { merge } from "./merge.ts";
import type { Metrics } from "./metrics.ts";
import type { Usage } from "./wire.ts";

export type ChoiceFinish = "stop" | "length" | "tool_calls";

/** `choice` numbers the answer's choices: those of the first prompt, then of the second, … */
export type ChoiceEvent =
  | { readonly kind: "delta"; readonly choice: number; readonly delta: ChoiceDelta }
  | { readonly kind: "finished"; readonly choice: number; readonly reason: ChoiceFinish };

export interface GenerationOptions {
  readonly engine: EngineDriver;
  readonly ticket: Ticket;
  readonly metrics: Metrics;
  /** Milliseconds. */
  readonly now: () => number;
  readonly id: string;
  readonly tenant: string;
  readonly prompts: readonly (readonly number[])[];
  readonly choicesPerPrompt: number;
  /** Undefined: up to the context's end. */
  readonly maxTokens: number | undefined;
  readonly stopTokens: readonly number[];
  readonly stopStrings: readonly string[];
  readonly sampling: SamplingParameters;
  readonly topLogprobs: number | undefined;
  readonly createReader: () => TokenReader;
  /** Told once, when the last sequence has ended. */
  readonly onEnd: (usage: Usage) => void;
}

/** One admitted request: its sequences in the engine, their choices as text, and its bill. */
export class Generation {
  readonly #options: GenerationOptions;
  readonly #outputs: ChoiceOutput[] = [];
  readonly #hitTokens: (number | undefined)[] = [];
  #completionTokens = 0;

  constructor(options: GenerationOptions) {
    this.#options = options;
  }

  /**
   * Every choice's events as they come. Leaving early frees the engine's sequences.
   * @throws ApiError when the engine fails or the server shuts down, ClientGone when the client left.
   */
  async *events(): AsyncGenerator<ChoiceEvent> {
    const { ticket, prompts, choicesPerPrompt, onEnd } = this.#options;
    const choices = prompts.flatMap((_, prompt) =>
      Array.from({ length: choicesPerPrompt }, (__, choice) => this.#choice(prompt, choice)),
    );
    try {
      yield* merge(choices);
    } finally {
      ticket.release();
      onEnd(this.usage());
    }
  }

  /** Ends all sequences; whoever reads the events is told that the client has gone. */
  cancel(): void {
    this.#options.ticket.release();
  }

  /** What is billed so far. A prompt counts once however many choices it has. */
  usage(): Usage {
    const prompt = this.#options.prompts.reduce((sum, tokens) => sum + tokens.length, 0);
    const hit = this.#hitTokens.reduce<number>((sum, tokens) => sum + (tokens ?? 0), 0);
    const reasoning = this.#outputs.reduce((sum, output) => sum + output.reasoningTokens, 0);
    return {
      prompt_tokens: prompt,
      completion_tokens: this.#completionTokens,
      total_tokens: prompt + this.#completionTokens,
      prompt_cache_hit_tokens: hit,
      prompt_cache_miss_tokens: prompt - hit,
      prompt_tokens_details: { cached_tokens: hit },
      completion_tokens_details: { reasoning_tokens: reasoning },
    };
  }

  async *#choice(prompt: number, choiceOfPrompt: number): AsyncGenerator<ChoiceEvent> {
    const { stopTokens, stopStrings, createReader, choicesPerPrompt } = this.#options;
    const choice = prompt * choicesPerPrompt + choiceOfPrompt;
    const output = new ChoiceOutput(createReader(), stopStrings);
    this.#outputs.push(output);
    let callsTools = false;
    const delta = (said: ChoiceDelta): ChoiceEvent => {
      callsTools ||= said.kind === "tool-call";
      return { kind: "delta", choice, delta: said };
    };

    for await (const event of this.#sequence(prompt, choiceOfPrompt)) {
      if (event.kind === "token") {
        if (!stopTokens.includes(event.token)) yield* output.push(event).map(delta);
        if (output.stopped) break;
      } else if (event.kind === "finished") {
        yield* output.end().map(delta);
        const reason = event.reason === "stop" && callsTools ? "tool_calls" : event.reason;
        yield { kind: "finished", choice, reason };
        return;
      }
    }
    yield { kind: "finished", choice, reason: "stop" };
  }

  /** One sequence in the engine, counted and timed; it ends in `finished` or throws. */
  async *#sequence(prompt: number, choice: number): AsyncGenerator<GenerationEvent> {
    const { engine, ticket, metrics, now } = this.#options;
    let tokens = 0;
    let before = now();
    try {
      for await (const event of engine.generate(this.#request(prompt, choice), ticket.signal)) {
        if (event.kind === "failed") throw engineFailure(event.code, event.message);
        if (event.kind === "started") {
          ticket.started();
          this.#countHits(prompt, event.hitTokens);
        } else if (event.kind === "token") {
          this.#completionTokens++;
          const at = now();
          if (tokens++ === 0) metrics.observeFirstToken(at - before);
          else metrics.observeNextToken(at - before);
          before = at;
        }
        yield event;
        if (event.kind === "finished") return;
      }
      throw engineFailure("engine_ended", "the engine ended the sequence without finishing it");
    } catch (error) {
      if (!ticket.signal.aborted) throw error;
      const { reason } = ticket.signal;
      throw reason instanceof ApiError ? reason : new ClientGone();
    }
  }

  /** A prompt's token is a hit when none of the prompt's choices had to compute it. */
  #countHits(prompt: number, hitTokens: number): void {
    this.#hitTokens[prompt] = Math.min(this.#hitTokens[prompt] ?? hitTokens, hitTokens);
  }

  #request(prompt: number, choice: number): GenerationRequest {
    const { engine, id, tenant, prompts, maxTokens, stopTokens, sampling, topLogprobs } =
      this.#options;
    const tokens = prompts[prompt];
    const room = engine.maxModelLen - tokens.length;
    return {
      id: `${id}-${prompt}-${choice}`,
      tenant,
      prompt: tokens,
      choice,
      maxTokens: Math.min(maxTokens ?? room, room),
      stopTokens,
      sampling,
      ...(topLogprobs === undefined ? {} : { topLogprobs }),
    };
  }
}
