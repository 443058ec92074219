import type { Context } from "hono";
import type { Logger } from "pino";
import type { Admission } from "../admission.ts";
import { Generation, type GenerationOptions, samplingOf } from "../answer/index.ts";
import type { Accounts } from "../billing/index.ts";
import type { Dialect } from "../dialects/index.ts";
import { type ApiError, ClientGone, invalidValue, knownError } from "../errors.ts";
import type { ServedModel } from "../models/index.ts";
import type { Metrics, RequestTraces, TracedRequest } from "../telemetry/index.ts";
import type { SharedRequest } from "../wire.ts";
import type { ClientLimits } from "./client-limits.ts";
import type { Refusals } from "./refusals.ts";
import type { Env } from "./env.ts";
import { eventStream, wholeAnswer } from "./stream.ts";

export interface GenerationsOptions {
  readonly limits: ClientLimits;
  readonly keepAliveMs: number;
  readonly admission: Admission;
  readonly metrics: Metrics;
  /** Undefined: no request is traced. */
  readonly traces: RequestTraces | undefined;
  readonly refusals: Refusals;
  /** Undefined: nothing is billed. */
  readonly accounts: Accounts | undefined;
  readonly log: Logger;
  readonly now: () => number;
  readonly drawSeed: () => number;
}

type Parts = Pick<
  GenerationOptions,
  "id" | "prompts" | "maxTokens" | "topLogprobs" | "createReader" | "constraints"
> & {
  readonly operation: TracedRequest["operation"];
  readonly afterFirstCall?: boolean;
  readonly place: Place;
};

/** What a request takes up while it is read; given up unless its generation keeps it. */
interface Place extends Disposable {
  keep(): void;
}

/** How an answer is told: some of what a dialect says. */
type Telling = Pick<Dialect<unknown>, "framing" | "describeError" | "errorEvent">;

/** Admitted requests: begun, billed, and told over HTTP. */
export class Generations {
  readonly #options: GenerationsOptions;

  constructor(options: GenerationsOptions) {
    this.#options = options;
  }

  /**
   * A request is one of its key's from here on.
   * @throws ApiError when `choices` more cannot be taken in, or their bill not written.
   */
  enter(context: Context<Env>, choices: number): Place {
    const { allowance } = context.get("caller");
    allowance?.assertRoom();
    this.#options.admission.assertRoom(choices);
    this.#options.accounts?.assertWritable();
    allowance?.begin();
    let isKept = false;
    return {
      keep: () => {
        isKept = true;
      },
      [Symbol.dispose]: () => {
        if (!isKept) allowance?.end(0);
      },
    };
  }

  /** @throws ApiError when the queue has no room, or a field says what cannot be. */
  begin(
    context: Context<Env>,
    served: ServedModel,
    request: SharedRequest,
    parts: Parts,
  ): Generation {
    const { accounts, now, log, metrics, admission } = this.#options;
    const { engine, latencies, tally } = served;
    const { afterFirstCall = false, operation, place, ...others } = parts;
    assertMinimum(request, parts.maxTokens);
    const maxTokens = request.stream
      ? parts.maxTokens
      : tokensHeld(request, parts, engine.maxModelLen, this.#options.limits);
    const choicesPerPrompt = request.n ?? 1;
    const sequences = parts.prompts.length * choicesPerPrompt;
    const requestId = context.get("requestId");
    const { tenant, allowance } = context.get("caller");
    const { model, stop } = request;
    const samplingUsed = samplingOf(request, served.sampling, engine, this.#options.drawSeed);
    const times = metrics.times(model, now());
    const generation = new Generation({
      ...{ ...others, maxTokens },
      unreadEvents: this.#options.limits.unreadEvents,
      onUnread: () => this.#cut(context, generation),
      engine,
      times,
      latencies,
      now,
      tenant: tenant.prefixes(request.cache_salt),
      choicesPerPrompt,
      eosTokens: engine.eosTokens,
      stop: {
        tokens: request.stop_token_ids ?? [],
        strings: typeof stop === "string" ? [stop] : (stop ?? []),
        told: request.include_stop_str_in_output ?? false,
        afterFirstCall,
      },
      sampling: samplingUsed,
      ticket: admission.admit(sequences, context.req.raw.signal, served.load),
      onEnd: async (end) => {
        const { outcome, usage } = end;
        metrics.countEnd(model, times, end, now());
        tally.end(generation, usage);
        log.info({ requestId, id: parts.id, model, outcome, usage }, "generated");
        const streamed = request.stream ?? false;
        this.#options.traces?.tell({
          ...{ operation, requestId, model, times, end, sampling: samplingUsed },
          ...{ answerId: parts.id, maxTokens, stream: streamed },
          caller: callerOf(context),
          choices: choicesPerPrompt,
          endedAt: now(),
        });
        allowance?.end(usage.total_tokens);
        const { name } = tenant;
        const ended = { ...end, id: parts.id, requestId, tenant: name, model, streamed };
        const cost = await accounts?.bill(ended);
        if (cost !== undefined) allowance?.spend(cost, now());
      },
    });
    place.keep();
    tally.begin(generation);
    return generation;
  }

  /** The answer as it comes. */
  stream(
    context: Context<Env>,
    generation: Generation,
    chunks: AsyncGenerator<object>,
    telling: Telling,
  ): Promise<Response> {
    return eventStream(chunks, {
      framing: telling.framing,
      unreadMs: this.#options.limits.unreadMs,
      onUnread: () => this.#cut(context, generation),
      ...this.#told(generation, (error) => telling.errorEvent(error)),
    });
  }

  /** The answer when it is complete. */
  whole(generation: Generation, answer: Promise<object>, telling: Telling): Promise<Response> {
    const describe = (error: ApiError) => telling.describeError(error);
    return wholeAnswer(answer, this.#told(generation, describe));
  }

  #told(generation: Generation, describe: (error: ApiError) => object) {
    const { keepAliveMs, log } = this.#options;
    return {
      keepAliveMs,
      describeError: (error: unknown) =>
        error instanceof ClientGone ? undefined : describe(knownError(error, log)),
      onLeave: () => generation.cancel(),
    };
  }

  /** Ends a request whose client does not read, and its connection with it. */
  #cut({ env }: Context<Env>, generation: Generation): void {
    this.#options.refusals.note("unread");
    generation.cancel();
    // A request that came over no socket has no bindings.
    (env as Partial<Env["Bindings"]> | undefined)?.outgoing?.destroy();
  }
}

/** Whose trace a request is part of. */
function callerOf({ req }: Context<Env>): TracedRequest["caller"] {
  const traceparent = req.header("traceparent");
  const tracestate = req.header("tracestate");
  return {
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(tracestate === undefined ? {} : { tracestate }),
  };
}

function assertMinimum({ min_tokens }: SharedRequest, maxTokens: number | undefined): void {
  if (!min_tokens || maxTokens === undefined || min_tokens <= maxTokens) return;
  const message = `min_tokens: expected at most the ${maxTokens} tokens asked for, got ${min_tokens}`;
  throw invalidValue("min_tokens", message);
}

/**
 * Tokens of each choice of an answer that is told at once, whose log-probabilities are all held until its end: where
 * nobody says how many there may be, as many as can be held.
 */
function tokensHeld(
  { n }: SharedRequest,
  { prompts, maxTokens, topLogprobs, operation }: Parts,
  maxModelLen: number,
  { logprobs: limit }: ClientLimits,
): number | undefined {
  if (topLogprobs === undefined) return maxTokens;
  const ofToken = (n ?? 1) * (topLogprobs + 1);
  if (maxTokens === undefined) return Math.max(1, Math.floor(limit / prompts.length / ofToken));
  const most = prompts.reduce(
    (sum, { length }) => sum + ofToken * Math.min(maxTokens, maxModelLen - length),
    0,
  );
  if (most <= limit) return maxTokens;
  const param = operation === "chat" && topLogprobs > 0 ? "top_logprobs" : "logprobs";
  const message =
    `${param}: expected at most ${limit} log-probabilities in an answer that is told at once, ` +
    `this one may come to ${most}; stream it, or lower max_tokens`;
  throw invalidValue(param, message);
}
