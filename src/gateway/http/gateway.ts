import type { Context, Hono } from "hono";
import { pino } from "pino";
import { thinkingAfter } from "../../model/index.ts";
import { Admission, drainingHeaders } from "../admission.ts";
import { Bodies } from "./bodies.ts";
import type { ClientLimits } from "./client-limits.ts";
import { defaults, type GatewayOptions, type Settings } from "./gateway-options.ts";
import { Refusals } from "./refusals.ts";
import { plainText } from "../answer/index.ts";
import type { AnswerHead } from "../answer/index.ts";
import { completion, completionChunks } from "../answer/index.ts";
import { ApiError } from "../errors.ts";
import {
  completionFields,
  detokenizeFields,
  rebalanceFields,
  scaleFields,
  tokenizeFields,
} from "../fields/index.ts";
import { Generations } from "./generations.ts";
import { RequestReader } from "./request-reader.ts";
import type { Counting, Dialect } from "../dialects/index.ts";
import { version } from "../../engine/index.ts";
import { Metrics } from "../telemetry/index.ts";
import { openChatConstraints, openCompletionConstraints } from "../answer/index.ts";
import { countPrompts, promptTexts } from "../answer/index.ts";
import { ServedModel, ServedModels } from "../models/index.ts";
import type { Env } from "./env.ts";
import { createApp, type Endpoints } from "./routes.ts";
import { StatusFeed } from "../status/index.ts";
import {
  type Rebalancing,
  rebalanceRequest,
  scaleRequest,
  type ScaleRequest,
  type Scaling,
} from "../status/index.ts";
import { type ClusterView, Status } from "../status/index.ts";
import { eventStreamHeaders } from "./stream.ts";
import { wantsThinking } from "../answer/index.ts";
import { refuseUnsupportedChat, refuseUnsupportedCompletion } from "../answer/index.ts";
import { Keyring } from "../keys/index.ts";
import * as wire from "../wire.ts";

/** The API server: OpenAI's API as DeepSeek speaks it, in front of an engine for each model. */
export class Gateway implements Endpoints {
  /** Answers a `Request` with a `Response`; needs no socket. */
  readonly app: Hono<Env>;
  readonly #options: Settings;
  readonly #models: ServedModels;
  readonly #admission: Admission;
  readonly #metrics: Metrics;
  readonly #reader: RequestReader;
  readonly #generations: Generations;
  readonly #refusals: Refusals;
  readonly #statusFeeds: ReadonlyMap<ServedModel, StatusFeed>;
  readonly #startedAt: number;

  constructor(options: GatewayOptions) {
    const whole = { ...defaults, ...options };
    const log = options.log ?? pino({ level: "silent" });
    this.#options = whole;
    this.#models = new ServedModels(options.models.map((parts) => new ServedModel(parts, log)));
    this.#metrics = new Metrics(this.#models.all, options.accounts);
    this.#admission = new Admission(whole.queueLimit);
    this.#startedAt = whole.now();
    this.#refusals = new Refusals(this.#metrics, log, whole.now);
    const bodies = new Bodies(whole.limits, this.#refusals.note);
    this.#reader = new RequestReader(bodies, whole.strict, log);
    this.#generations = new Generations({
      ...whole,
      accounts: options.accounts,
      traces: options.traces,
      admission: this.#admission,
      metrics: this.#metrics,
      refusals: this.#refusals,
      log,
      drawSeed: () => this.#drawSeed(),
    });
    this.#statusFeeds = new Map(this.#models.all.map((model) => [model, this.#feedOf(model)]));
    this.app = createApp(this, {
      keyring: options.keyring ?? new Keyring(options.apiKey, [], whole.now),
      listensLocally: whole.listensLocally,
      allowedHosts: whole.allowedHosts,
      allowedOrigins: whole.allowedOrigins,
      isDraining: () => this.#admission.draining,
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
  async converse<Request>(context: Context<Env>, dialect: Dialect<Request>): Promise<Response> {
    const { request, json } = await this.#reader.read(context, dialect);
    try {
      return await this.#answer(context, dialect, request, json);
    } catch (error) {
      throw inWordsOf(dialect, error);
    }
  }

  async #answer<Request>(
    context: Context<Env>,
    dialect: Dialect<Request>,
    request: Request,
    json: string,
  ): Promise<Response> {
    const tenant = context.get("caller").tenant.prefixes(undefined);
    const chat = dialect.toChat(request, tenant, json);
    const model = this.#models.named(chat.model);
    refuseUnsupportedChat(chat);
    using place = this.#generations.enter(context, chat.n ?? 1);

    const prompt = await model.prompts.chat(chat, wantsThinking(chat), context.req.raw.signal);
    const head = this.#head(dialect.idPrefix, chat.model);
    const { vocabulary, toolCallFormat } = model.text;
    const thinking = thinkingAfter(vocabulary, prompt);
    const { signal } = context.req.raw;
    const facts = { thinking, toolCallFormat, signal };
    const constraints = await openChatConstraints(model.masks, chat, facts);
    const generation = this.#generations.begin(context, model, chat, {
      place,
      id: head.id,
      operation: "chat",
      constraints,
      prompts: [prompt],
      maxTokens: chat.max_completion_tokens ?? chat.max_tokens ?? undefined,
      topLogprobs: chat.logprobs ? (chat.top_logprobs ?? 0) : undefined,
      afterFirstCall: chat.parallel_tool_calls === false,
      createReader: () => model.parserAfter(prompt, chat),
    });

    const { reasoningField } = this.#options;
    const createId = (prefix: string) => this.#createId(prefix);
    const { tokenBytes } = model;
    const answer = {
      request,
      chat,
      head,
      generation,
      reasoningField,
      tokenBytes,
      createId,
      tenant,
    };
    return chat.stream
      ? this.#generations.stream(context, generation, dialect.stream(answer), dialect)
      : this.#generations.whole(generation, dialect.whole(answer), dialect);
  }

  /** How many tokens a conversation has. */
  async count<Request>(context: Context<Env>, counting: Counting<Request>): Promise<Response> {
    const { request, json } = await this.#reader.read(context, counting);
    try {
      const tenant = context.get("caller").tenant.prefixes(undefined);
      const chat = counting.toChat(request, tenant, json);
      const { prompts } = this.#models.named(chat.model);
      const prompt = await prompts.chat(chat, wantsThinking(chat), context.req.raw.signal);
      return context.json(counting.tell(prompt.length));
    } catch (error) {
      throw inWordsOf(counting, error);
    }
  }

  /** Raw continuations of one or more prompts; the same path without template and channels. */
  async completions(context: Context<Env>): Promise<Response> {
    const { request } = await this.#reader.read(context, completionForm);
    const model = this.#models.named(request.model);
    refuseUnsupportedCompletion(request);
    const choicesPerPrompt = request.n ?? 1;
    const choices = countPrompts(request) * choicesPerPrompt;
    using place = this.#generations.enter(context, choices);
    const prompts = await model.prompts.completions(request.prompt, context.req.raw.signal);

    const { vocabulary } = model.text;
    const head = this.#head("cmpl-", request.model);
    const { signal } = context.req.raw;
    const constraints = await openCompletionConstraints(model.masks, request, choices, signal);
    const generation = this.#generations.begin(context, model, request, {
      place,
      id: head.id,
      operation: "text_completion",
      constraints,
      prompts,
      maxTokens: request.max_tokens ?? undefined,
      topLogprobs: request.logprobs ?? undefined,
      createReader: () => plainText(vocabulary),
    });

    const echoed = request.echo ? promptTexts(request, (tokens) => vocabulary.decode(tokens)) : [];
    const answer = {
      head,
      choices,
      beginnings: echoed.flatMap((text) => Array<string>(choicesPerPrompt).fill(text)),
      includeUsage: request.stream_options?.include_usage ?? false,
      logprobs: request.logprobs ?? undefined,
      tokenBytes: model.tokenBytes,
    };
    return request.stream
      ? this.#generations.stream(context, generation, completionChunks(generation, answer), openai)
      : this.#generations.whole(generation, completion(generation, answer), openai);
  }

  async tokenize(context: Context<Env>): Promise<Response> {
    const { request } = await this.#reader.read(context, tokenizeForm);
    const { prompts, engine } = this.#models.only(request.model);
    const begins = request.add_special_tokens ?? true;
    const tokens = await prompts.text(request.prompt, begins, context.req.raw.signal);
    const body: wire.Tokenized = {
      count: tokens.length,
      max_model_len: engine.maxModelLen,
      tokens: [...tokens],
    };
    return context.json(body);
  }

  async detokenize(context: Context<Env>): Promise<Response> {
    const { request } = await this.#reader.read(context, detokenizeForm);
    const { text } = this.#models.only(request.model);
    const prompt = text.vocabulary.decode(request.tokens);
    return context.json({ prompt } satisfies wire.Detokenized);
  }

  models(): Response {
    const data = this.#models.names.map((name) => this.#model(name));
    return Response.json({ object: "list", data } satisfies wire.ModelList);
  }

  model(id: string): Response {
    return Response.json(this.#model(id));
  }

  /** Asks nobody, so it answers whatever the engine does. */
  health(): Response {
    return this.#tellHealth(this.#admission.draining ? "draining" : "ok");
  }

  /** As `health`; and whether some unit of each model takes requests. */
  ready(): Response {
    if (this.#admission.draining) return this.health();
    const unready = this.#models.all.filter((model) => !model.isReady);
    if (unready.length === 0) return this.#tellHealth("ok");
    return this.#tellHealth("no_unit", { without_unit: unready.map(({ name }) => name) });
  }

  /** The process lives, also while it drains. */
  live(): Response {
    return Response.json({ version } satisfies wire.Version);
  }

  async metrics(): Promise<Response> {
    return new Response(await this.#metrics.expose(), {
      headers: { "content-type": this.#metrics.contentType },
    });
  }

  /** Of the model that the question names, or the first. */
  async status(context: Context<Env>): Promise<Response> {
    return Response.json(await this.#statusFeed(context).snapshot());
  }

  statusEvents(context: Context<Env>): Response {
    return new Response(this.#statusFeed(context).events(), { headers: eventStreamHeaders });
  }

  #statusFeed(context: Context<Env>): StatusFeed {
    const model = this.#models.first(context.req.query("model"));
    return this.#statusFeeds.get(model) as StatusFeed;
  }

  /** Which units' experts were placed anew, and what that does to the loads they have counted. */
  async rebalance(context: Context<Env>): Promise<Response> {
    const { request } = await this.#reader.read(context, rebalanceForm);
    const { cluster } = this.#models.only(request.model);
    const units: Rebalancing["units"] = [...(await cluster.rebalance())];
    return Response.json({ units } satisfies Rebalancing);
  }

  /** So many units are to serve; that they do takes a while. */
  async scale(context: Context<Env>): Promise<Response> {
    const { request } = await this.#reader.read(context, scaleForm);
    const { model, ...wanted } = request;
    const { cluster } = this.#models.only(model);
    scaleTo(wanted, cluster);
    const units = cluster.units().map(({ unit, role, state }) => ({ unit, role, state }));
    const body: Scaling = { units, problems: [...cluster.problems()] };
    return Response.json(body);
  }

  /**
   * Refuses new requests with 503 and resolves when those inside have their answers; at
   * `deadlineMs` the rest end in an error.
   */
  async drain(deadlineMs: number): Promise<void> {
    await this.#admission.drain(deadlineMs);
    for (const feed of this.#statusFeeds.values()) feed.close();
    for (const { masks } of this.#models.all) masks.close();
  }

  #tellHealth(status: wire.Health["status"], more: Partial<wire.Health> = {}): Response {
    const { waiting, running } = this.#admission.load;
    const body: wire.Health = { status, waiting, running, ...more };
    if (status === "ok") return Response.json(body);
    const headers = status === "draining" ? drainingHeaders : {};
    return Response.json(body, { status: 503, headers });
  }

  #model(id: string): wire.Model {
    const { maxModelLen } = this.#models.named(id).engine;
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

  /** What the page is told of a model. */
  #feedOf(model: ServedModel): StatusFeed {
    const { cluster, engine, latencies, load, tally, names } = model;
    const status = new Status({
      ...{ cluster, latencies, load, models: names, maxModelLen: engine.maxModelLen },
      served: this.#models.all.map(({ name }) => name),
      draining: () => this.#admission.draining,
      tokens: () => tally.read(),
      resumed: () => this.#metrics.resumedOf(names),
      now: this.#options.now,
    });
    return new StatusFeed(status);
  }
}

/** @throws ApiError 400 where that makes no sense */
function scaleTo(wanted: Omit<ScaleRequest, "model">, cluster: ClusterView): void {
  try {
    cluster.scale(wanted);
  } catch (error) {
    if (error instanceof RangeError) throw new ApiError(400, "invalid_value", error.message);
    throw error;
  }
}

/** An error of a conversation, with the dialect's own names of fields. */
const inWordsOf = (dialect: Pick<Dialect<unknown>, "fieldOf">, error: unknown): unknown =>
  error instanceof ApiError ? error.named((field) => dialect.fieldOf(field)) : error;

const openai = {
  framing: "plain",
  describeError: (error: ApiError) => error.envelope(),
  errorEvent: (error: ApiError) => error.envelope(),
} as const;

const completionForm = { schema: wire.completionRequest, fields: completionFields };
const tokenizeForm = { schema: wire.tokenizeRequest, fields: tokenizeFields };
const rebalanceForm = { schema: rebalanceRequest, fields: rebalanceFields, whenEmpty: "{}" };
const scaleForm = { schema: scaleRequest, fields: scaleFields };
const detokenizeForm = { schema: wire.detokenizeRequest, fields: detokenizeFields };
