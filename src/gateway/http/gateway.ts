import { randomBytes } from "node:crypto";
import type { z } from "@hono/zod-openapi";
import type { Context, Hono } from "hono";
import { pino, type Logger } from "pino";
import { Detokenizer, OutputParser, thinkingAfter } from "../../model/index.ts";
import type { Accounts } from "../billing/index.ts";
import { Admission } from "../admission.ts";
import { Bodies } from "./bodies.ts";
import { readJson } from "./body.ts";
import { clientLimits, type ClientLimits } from "./client-limits.ts";
import { Refusals } from "./refusals.ts";
import { chatChunks, chatCompletion, type AnswerHead } from "../answer/index.ts";
import type { ReasoningField, TokenReader } from "../answer/index.ts";
import { viewDriver, type ClusterView } from "../status/index.ts";
import { completion, completionChunks } from "../answer/index.ts";
import type { DashboardFiles } from "./dashboard-files.ts";
import type { EngineDriver } from "../engine-driver.ts";
import { ApiError, ClientGone } from "../errors.ts";
import { Generation, type GenerationOptions } from "../answer/index.ts";
import { Metrics } from "../status/index.ts";
import { countCalls, countPrompts, offeredTools, PromptWriter } from "../answer/index.ts";
import { createApp, knownError, type Endpoints, type Env } from "./routes.ts";
import { openConstraints } from "../answer/index.ts";
import { samplingOf, type SamplingDefaults } from "../answer/index.ts";
import { StatusFeed } from "../status/index.ts";
import type { Rebalancing } from "../status/index.ts";
import { Status } from "../status/index.ts";
import { eventStream, eventStreamHeaders } from "./stream.ts";
import { wantsThinking } from "../answer/index.ts";
import { TokenTally } from "../billing/index.ts";
import { refuseUnsupportedChat, refuseUnsupportedCompletion } from "../answer/index.ts";
import { Tenant } from "../tenant.ts";
import { MaskWorker, type TextWorker } from "../text/index.ts";
import * as wire from "../wire.ts";

export interface GatewayOptions {
  readonly engine: EngineDriver;
  readonly text: TextWorker;
  /** The model's names. One that ends in `reasoner` thinks unless told not to. */
  readonly servedNames: readonly string[];
  /** Undefined: anyone may ask. */
  readonly apiKey?: string;
  /** Where thoughts are told; DeepSeek's `reasoning_content` by default. */
  readonly reasoningField?: ReasoningField;
  /** What generation_config.json recommends. */
  readonly sampling?: SamplingDefaults;
  /** Sequences that may wait; more are refused with 429. */
  readonly queueLimit?: number;
  readonly limits?: ClientLimits;
  readonly keepAliveMs?: number;
  /** Undefined: nothing is billed. */
  readonly accounts?: Accounts;
  /** The ranks that a status tells of; one that is the whole engine where nothing is given. */
  readonly cluster?: ClusterView;
  /** Undefined: there is no page. */
  readonly dashboard?: DashboardFiles;
  readonly log?: Logger;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  readonly randomBytes?: (count: number) => Uint8Array;
}

type Defaulted =
  | "reasoningField"
  | "sampling"
  | "queueLimit"
  | "limits"
  | "keepAliveMs"
  | "now"
  | "randomBytes";
type Settings = GatewayOptions & Required<Pick<GatewayOptions, Defaulted>>;

const defaults: Pick<Settings, Defaulted> = {
  reasoningField: "reasoning_content",
  sampling: { temperature: 1, topP: 1 },
  queueLimit: 256,
  limits: clientLimits,
  keepAliveMs: 10_000,
  now: Date.now,
  randomBytes,
};

type GenerationParts = Pick<
  GenerationOptions,
  "id" | "constraints" | "prompts" | "maxTokens" | "topLogprobs" | "createReader"
>;

/** The API server: OpenAI's API as DeepSeek speaks it, in front of one engine. */
export class Gateway implements Endpoints {
  /** Answers a `Request` with a `Response`; needs no socket. */
  readonly app: Hono<Env>;
  readonly #options: Settings;
  readonly #log: Logger;
  readonly #prompts: PromptWriter;
  readonly #masks: MaskWorker;
  readonly #admission: Admission;
  readonly #tenant: Tenant;
  readonly #metrics = new Metrics();
  readonly #refusals: Refusals;
  readonly #bodies: Bodies;
  readonly #tally = new TokenTally();
  readonly #cluster: ClusterView;
  readonly #statusFeed: StatusFeed;
  readonly #startedAt: number;

  constructor(options: GatewayOptions) {
    const whole = { ...defaults, ...options };
    const log = options.log ?? pino({ level: "silent" });
    this.#options = whole;
    this.#log = log;
    this.#prompts = new PromptWriter(options.text, options.engine);
    this.#masks = new MaskWorker({
      vocabulary: options.text.vocabulary.tables,
      endTokens: options.engine.eosTokens,
    });
    this.#tenant = new Tenant(options.apiKey);
    this.#admission = new Admission(whole.queueLimit);
    this.#startedAt = whole.now();
    this.#refusals = new Refusals(this.#metrics, log, whole.now);
    this.#bodies = new Bodies(whole.limits, this.#refusals.note);
    this.#cluster = options.cluster ?? viewDriver(options.engine);
    const status = new Status({
      cluster: this.#cluster,
      admission: this.#admission,
      tokens: () => this.#tally.read(),
      models: options.servedNames,
      maxModelLen: options.engine.maxModelLen,
      now: whole.now,
    });
    this.#statusFeed = new StatusFeed(status);
    this.app = createApp(this, {
      apiKey: options.apiKey,
      log,
      metrics: this.#metrics,
      dashboard: options.dashboard,
      now: whole.now,
      createId: (prefix) => this.#createId(prefix),
    });
  }

  get limits(): ClientLimits {
    return this.#options.limits;
  }

  /** A connection more than there may be was closed. */
  refuseConnection(): void {
    this.#refusals.note("connections_full");
  }

  /** A conversation's next message: read, rendered, admitted, generated, told. */
  async chat(context: Context<Env>): Promise<Response> {
    const request = await this.#read(context, wire.chatRequest);
    this.#assertServed(request.model);
    refuseUnsupportedChat(request);
    const choices = request.n ?? 1;
    this.#assertRoom(choices);

    const thinking = wantsThinking(request);
    const prompt = await this.#prompts.chat(request, thinking, context.req.raw.signal);
    const head = this.#head("chatcmpl-", request.model);
    const constraints = await openConstraints(
      this.#masks,
      request,
      choices,
      thinkingAfter(this.#options.text.vocabulary, prompt),
    );
    const generation = this.#generate(context, request, {
      id: head.id,
      constraints,
      prompts: [prompt],
      maxTokens: request.max_completion_tokens ?? request.max_tokens ?? undefined,
      topLogprobs: request.logprobs ? (request.top_logprobs ?? 0) : undefined,
      createReader: () => this.#parserAfter(prompt, request),
    });

    const answer = {
      head,
      choices,
      includeUsage: request.stream_options?.include_usage ?? false,
      logprobs: request.logprobs ?? false,
      tokenBytes: this.#tokenBytes,
      reasoningField: this.#options.reasoningField,
      createCallId: () => this.#createId("call_"),
    };
    return request.stream
      ? this.#stream(context, generation, chatChunks(generation, answer))
      : context.json(await chatCompletion(generation, answer));
  }

  /** Raw continuations of one or more prompts; the same path without template and channels. */
  async completions(context: Context<Env>): Promise<Response> {
    const request = await this.#read(context, wire.completionRequest);
    this.#assertServed(request.model);
    refuseUnsupportedCompletion(request);
    const choices = countPrompts(request) * (request.n ?? 1);
    this.#assertRoom(choices);
    const prompts = await this.#prompts.completions(request.prompt, context.req.raw.signal);

    const head = this.#head("cmpl-", request.model);
    const constraints = await openConstraints(this.#masks, request, choices);
    const generation = this.#generate(context, request, {
      id: head.id,
      constraints,
      prompts,
      maxTokens: request.max_tokens ?? undefined,
      topLogprobs: request.logprobs ?? undefined,
      createReader: () => plainText(new Detokenizer(this.#options.text.vocabulary)),
    });

    const answer = {
      head,
      choices,
      includeUsage: request.stream_options?.include_usage ?? false,
      logprobs: request.logprobs ?? undefined,
      tokenBytes: this.#tokenBytes,
    };
    return request.stream
      ? this.#stream(context, generation, completionChunks(generation, answer))
      : context.json(await completion(generation, answer));
  }

  async tokenize(context: Context<Env>): Promise<Response> {
    const request = await this.#read(context, wire.tokenizeRequest);
    if (request.model) this.#assertServed(request.model);
    const begins = request.add_special_tokens ?? true;
    const tokens = await this.#prompts.text(request.prompt, begins, context.req.raw.signal);
    const { maxModelLen } = this.#options.engine;
    const body: wire.Tokenized = {
      count: tokens.length,
      max_model_len: maxModelLen,
      tokens: [...tokens],
    };
    return context.json(body);
  }

  models(): Response {
    const data = this.#options.servedNames.map((name) => this.#model(name));
    return Response.json({ object: "list", data } satisfies wire.ModelList);
  }

  model(id: string): Response {
    this.#assertServed(id);
    return Response.json(this.#model(id));
  }

  /** Asks nobody, so it answers whatever the engine does. */
  health(): Response {
    const { draining, waiting, running } = this.#admission;
    const body: wire.Health = { status: draining ? "draining" : "ok", waiting, running };
    return Response.json(body);
  }

  async metrics(): Promise<Response> {
    const engine = await this.#options.engine.stats().catch(() => undefined);
    return new Response(this.#metrics.expose(this.#admission, engine), {
      headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
    });
  }

  async status(): Promise<Response> {
    return Response.json(await this.#statusFeed.snapshot());
  }

  statusEvents(): Response {
    return new Response(this.#statusFeed.events(), { headers: eventStreamHeaders });
  }

  /** Which units' experts were placed anew, and what that does to the loads they have counted. */
  async rebalance(): Promise<Response> {
    const units: Rebalancing["units"] = [...(await this.#cluster.rebalance())];
    return Response.json({ units } satisfies Rebalancing);
  }

  /**
   * Refuses new requests with 503 and resolves when those inside have their answers; at
   * `deadlineMs` the rest end in an error.
   */
  async drain(deadlineMs: number): Promise<void> {
    await this.#admission.drain(deadlineMs);
    this.#statusFeed.close();
    this.#masks.close();
  }

  /** @throws ApiError when the queue has no room. */
  #generate(
    context: Context<Env>,
    request: wire.SharedRequest,
    parts: GenerationParts,
  ): Generation {
    try {
      return this.#begin(context, request, parts);
    } catch (error) {
      for (const constraint of parts.constraints) constraint.close();
      throw error;
    }
  }

  #begin(context: Context<Env>, request: wire.SharedRequest, parts: GenerationParts): Generation {
    const { accounts, engine, sampling, now } = this.#options;
    const choicesPerPrompt = request.n ?? 1;
    const sequences = parts.prompts.length * choicesPerPrompt;
    const requestId = context.get("requestId");
    const { model, stop } = request;
    const generation = new Generation({
      ...parts,
      unreadEvents: this.limits.unreadEvents,
      onUnread: () => this.#cut(context, generation),
      engine,
      metrics: this.#metrics,
      now,
      tenant: this.#tenant.prefixes(request.cache_salt),
      choicesPerPrompt,
      stopTokens: engine.eosTokens,
      stopStrings: typeof stop === "string" ? [stop] : (stop ?? []),
      sampling: samplingOf(request, sampling, engine.vocabSize, () => this.#drawSeed()),
      ticket: this.#admission.admit(sequences, context.req.raw.signal),
      onEnd: async (end) => {
        const { outcome, usage } = end;
        this.#metrics.countUsage(usage);
        this.#tally.end(generation, usage);
        this.#log.info({ requestId, id: parts.id, model, outcome, usage }, "generated");
        const streamed = request.stream ?? false;
        const { name: tenant } = this.#tenant;
        await accounts?.bill({ ...end, id: parts.id, requestId, tenant, model, streamed });
      },
    });
    this.#tally.begin(generation);
    return generation;
  }

  #read<T>(context: Context<Env>, schema: z.ZodType<T>): Promise<T> {
    const { headers } = context.req.raw;
    // A body that is refused midway leaves its connection open for the answer.
    const pieces = context.env.incoming.iterator({ destroyOnReturn: false });
    return readJson({ headers, pieces }, schema, this.#bodies);
  }

  /** Reads what the model says after this prompt. */
  #parserAfter(prompt: Uint32Array, request: wire.ChatRequest): OutputParser {
    const { vocabulary, toolCallFormat } = this.#options.text;
    const tools = offeredTools(request);
    return new OutputParser(vocabulary, {
      ...thinkingAfter(vocabulary, prompt),
      toolCalls: tools.length > 0 ? toolCallFormat : undefined,
      tools,
      callsBefore: countCalls(request),
    });
  }

  #stream(
    context: Context<Env>,
    generation: Generation,
    chunks: AsyncGenerator<object>,
  ): Promise<Response> {
    return eventStream(chunks, {
      unreadMs: this.limits.unreadMs,
      onUnread: () => this.#cut(context, generation),
      keepAliveMs: this.#options.keepAliveMs,
      describeError: (error) =>
        error instanceof ClientGone ? undefined : knownError(error, this.#log).envelope(),
      onLeave: () => generation.cancel(),
    });
  }

  /** Ends a request whose client does not read, and its connection with it. */
  #cut({ env }: Context<Env>, generation: Generation): void {
    this.#refusals.note("unread");
    generation.cancel();
    // A request that came over no socket has no bindings.
    (env as Partial<Env["Bindings"]> | undefined)?.outgoing?.destroy();
  }

  /** @throws ApiError when `choices` more cannot be taken in, or their bill not written. */
  #assertRoom(choices: number): void {
    this.#admission.assertRoom(choices);
    this.#options.accounts?.assertWritable();
  }

  #assertServed(name: string): void {
    if (this.#options.servedNames.includes(name)) return;
    const served = this.#options.servedNames.join(", ");
    const message = `The model ${JSON.stringify(name.slice(0, 200))} does not exist; served: ${served}`;
    throw new ApiError(404, "model_not_found", message, { param: "model" });
  }

  #model(id: string): wire.Model {
    const { maxModelLen } = this.#options.engine;
    const created = Math.floor(this.#startedAt / 1000);
    return { id, object: "model", created, owned_by: "daysix", max_model_len: maxModelLen };
  }

  #head(prefix: string, model: string): AnswerHead {
    const created = Math.floor(this.#options.now() / 1000);
    return { id: this.#createId(prefix), created, model };
  }

  #createId(prefix: string): string {
    return prefix + Buffer.from(this.#options.randomBytes(12)).toString("hex");
  }

  #drawSeed(): number {
    return Buffer.from(this.#options.randomBytes(4)).readUInt32LE();
  }

  readonly #tokenBytes = (token: number) => this.#options.text.vocabulary.tokenBytes(token);
}

/** A reader that takes everything a model says for content. */
function plainText(detokenizer: Detokenizer): TokenReader {
  const content = (text: string) => (text === "" ? [] : [{ kind: "content" as const, text }]);
  return {
    reasoningTokens: 0,
    undecided: true,
    push: (token) => content(detokenizer.push(token)),
    end: () => content(detokenizer.end()),
  };
}
