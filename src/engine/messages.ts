/**
 * What ranks are told and say. The schemas are the one source: types are inferred from them, threads
 * pass the values as they are, and what comes from another node is checked against them.
 */
import { z } from "zod";
import { MAXIMUM_RANK } from "../cluster/index.ts";
import { maskColumns } from "./mask-columns.ts";
import type { TrafficCounts } from "../expert-parallel/index.ts";
import type { SamplingParameters, TokenLogprob } from "../kernels/index.ts";
import type { ContextCacheStats } from "../kv-cache/index.ts";
import type { SpanBatch } from "../trace/index.ts";

const whole = z.int().min(0);
/** Names a request among the live ones. */
const handle = z.uint32();
const rank = z.int().min(0).max(MAXIMUM_RANK);
const bytes: z.ZodType<Uint8Array> = z.instanceof(Uint8Array);
const words: z.ZodType<Uint32Array> = z.instanceof(Uint32Array);
const doubles: z.ZodType<Float64Array> = z.instanceof(Float64Array);
const tokens = z.array(z.int()).readonly();

const sampling: z.ZodType<SamplingParameters> = z.object({
  temperature: z.number(),
  topP: z.number(),
  topK: z.number(),
  minP: z.number(),
  presencePenalty: z.number(),
  frequencyPenalty: z.number(),
  repetitionPenalty: z.number(),
  logitBias: z.record(z.string(), z.number()),
  barred: z.object({ tokens, before: z.number() }).exactOptional(),
  seed: z.number(),
});

const requestSchema = z
  .object({
    id: z.string().max(256),
    /** Prefix reuse never crosses tenants. */
    tenant: z.string().max(4096),
    prompt: words,
    /** The last so many tokens of `prompt` were generated, and told, by ranks that are lost. */
    generated: whole.exactOptional(),
    /** Keys of the prompt's full pages (`bytesOfKeys`), where they are known already. */
    blockKeys: bytes.exactOptional(),
    /** Index of the choice among n: part of the random number's counter. */
    choice: whole,
    maxTokens: z.number(),
    stopTokens: tokens,
    sampling,
    /** Alternatives reported with each token; undefined reports no logprobs. */
    topLogprobs: whole.exactOptional(),
    /** A bit for each token that may come first; the rank is told of the next ones token by token. */
    mask: words.exactOptional(),
  })
  .readonly();

/** One sequence to generate; a request with n choices is n of these. */
export type GenerationRequest = z.infer<typeof requestSchema>;

/** A request as a program may make it: a plain list of token ids will do. */
export type AskedRequest = Omit<GenerationRequest, "prompt"> & {
  readonly prompt: Uint32Array | readonly number[];
};

/** What a rank is told. */
export const commandSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("generate"),
    handle,
    request: requestSchema,
    /** Goes on there after the first token. */
    decodeRank: rank.exactOptional(),
    /** It reads what the context cache has of the prompt, and lends it to this one. */
    borrows: z.literal(true).exactOptional(),
  }),
  /** A prefill rank will hand this request over. */
  z.object({ kind: z.literal("expect"), handle, request: requestSchema, prefillRank: rank }),
  z.object({ kind: z.literal("cancel"), handle }),
  /** Tokens that may come at places of sequences that began with a mask. */
  z.object({ kind: z.literal("masks"), masks: maskColumns }),
  /** A report of events has been read. */
  z.object({ kind: z.literal("heard") }),
  /** There are more ranks that will hand sequences over, or take them over. */
  z.object({ kind: z.literal("meet"), ranks: z.array(rank).readonly() }),
  /** The unit's experts lie so from the first step on for which all its ranks know it. */
  z.object({
    kind: z.literal("place"),
    /** Ascending. */
    version: whole,
    placement: z.array(z.array(whole).readonly()).readonly(),
  }),
]);

export type RankCommand = z.infer<typeof commandSchema>;

const finishReason = z.enum(["stop", "length"]);

/** `stop`: a stop token was generated (it is the last token event); `length`: maxTokens or context. */
export type FinishReason = z.infer<typeof finishReason>;

export type GenerationEvent =
  /** First computation has begun. `hitTokens`: prompt tokens answered by the prefix cache. */
  | { readonly kind: "started"; readonly hitTokens: number }
  | {
      readonly kind: "token";
      readonly token: number;
      /** Present when the request asked for logprobs. */
      readonly logprob?: number;
      readonly top: readonly TokenLogprob[];
      /** It had been proposed, and computed along with tokens before it. */
      readonly proposed: boolean;
      /** Computed proposals that it shows to be wrong. */
      readonly refuted: number;
    }
  | { readonly kind: "finished"; readonly reason: FinishReason }
  | { readonly kind: "failed"; readonly code: string; readonly message: string };

/**
 * The ranks that computed it are lost, and others go on: of what was computed and told before, they
 * computed so many tokens again.
 */
export interface ResumedEvent {
  readonly kind: "resumed";
  readonly recomputedTokens: number;
}

/** `time`: when the engine's client heard of it, in milliseconds by the client's clock. */
export type TimedEvent = (GenerationEvent | ResumedEvent) & { readonly time: number };

export interface HandledEvent {
  readonly handle: number;
  readonly event: GenerationEvent;
}

export const TOKEN_COLUMNS = 5;

/** The events of a step as columns, in the order in which a request hears them. */
const columnsSchema = z
  .object({
    /** Handle and hit tokens of each request that started. */
    started: words,
    /** Of each chosen token what TOKEN_COLUMNS counts: handle, token, alternatives, proposed, refuted. */
    tokens: words,
    /** By token; NaN where none was asked for. */
    logprobs: doubles,
    /** The tokens' alternatives, one token's after the other's. */
    top: words,
    topLogprobs: doubles,
    finished: z.array(z.object({ handle, reason: finishReason })),
    failed: z.array(z.object({ handle, code: z.string(), message: z.string() })),
  })
  .refine(({ started, tokens: chosen, logprobs, top, topLogprobs }) => {
    if (started.length % 2 > 0 || chosen.length !== TOKEN_COLUMNS * logprobs.length) return false;
    let alternatives = 0;
    for (let i = 2; i < chosen.length; i += TOKEN_COLUMNS) alternatives += chosen[i];
    return alternatives === top.length && top.length === topLogprobs.length;
  }, "expected columns that fit each other");

export type EventColumns = z.infer<typeof columnsSchema>;

const spans: z.ZodType<SpanBatch> = z
  .object({
    node: whole,
    rank,
    names: bytes,
    starts: doubles,
    ends: doubles,
    steps: z.instanceof(Int32Array),
    layers: z.instanceof(Int16Array),
    rows: z.instanceof(Int32Array),
    microBatches: z.instanceof(Int32Array),
  })
  .refine(
    ({ names, starts, ends, steps, layers, rows, microBatches }) =>
      [starts, ends, steps, layers, rows, microBatches].every(
        ({ length }) => length === names.length,
      ),
    "expected columns of one length",
  );

/** Of each sequence its handle, its length, how many tokens are guessed to follow, and these. */
const guessesSchema = words.refine((guesses) => {
  let at = 0;
  while (at + 2 < guesses.length) at += 3 + guesses[at + 2];
  return at === guesses.length;
}, "expected guessed tokens, as many as are told");

/** What a rank says unasked; all events of a step travel together. */
export const newsSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("events"),
    columns: columnsSchema,
    /** Of the rank's pool, after the step. */
    pagesInUse: whole,
    /** What a block of the context cache takes. */
    blockMicros: z
      .object({ read: whole.exactOptional(), lent: whole.exactOptional() })
      .exactOptional(),
    /** Milliseconds since the step began, which is when its requests started. */
    stepMs: z.number().min(0),
  }),
  z.object({ kind: z.literal("spans"), spans }),
  /** Tokens that the rank is computing, in case they come: what may follow them is of use until it has. */
  z.object({ kind: z.literal("guesses"), guesses: guessesSchema }),
]);

export type RankNews = z.infer<typeof newsSchema>;

/** Counts and words by name. */
const figures = z.record(
  z.string(),
  z.union([whole, z.string(), z.record(z.string(), z.union([whole, z.string()]))]),
);

const counts = z.array(whole).readonly();
const traffic: z.ZodType<TrafficCounts> = z.object({
  rowsTo: counts,
  rowsSent: counts,
  bytesTo: counts,
  expertLoads: z.array(counts).readonly(),
});

/** A moment of the engine, for health, metrics and tests. */
export const statsSchema = z
  .object({
    waiting: whole,
    running: whole,
    pages: whole,
    /** Pages neither free nor merely kept for reuse. */
    pagesInUse: whole,
    /** Pages no request uses that hold prefixes which may be reused. */
    pagesCached: whole,
    steps: whole,
    promptTokens: whole,
    hitTokens: whole,
    generatedTokens: whole,
    /** Computed along with sequences' last tokens; of these, what stood. */
    proposedTokens: whole,
    acceptedTokens: whole,
    preemptions: whole,
    /** Steps in which two micro-batches overlapped; of ranks whose unit shares its experts. */
    overlappedSteps: whole.exactOptional(),
    /** What went to decode ranks: sequences, and the KV of so many positions that they lacked. */
    handedOver: z.object({ sequences: whole, tokens: whole, bytes: whole }).exactOptional(),
    /** Rows and bytes are those of ranks whose unit shares its experts. */
    traffic: traffic.exactOptional(),
    /** Present when there is a context cache. */
    contextCache: z
      .custom<ContextCacheStats>((said) => figures.safeParse(said).success)
      .exactOptional(),
    /** Why the rank computes no more; its counts are the last known. */
    lost: z.string().exactOptional(),
  })
  .readonly();

export type EngineStats = z.infer<typeof statsSchema>;

/** What a request must fit. */
export const limitsSchema = z
  .object({
    /** Prompt and generated tokens together. */
    maxModelLen: whole,
    /** What ends the context, where that is not the length of the model or the one asked for. */
    limitedBy: z.string().exactOptional(),
    vocabSize: whole,
    eosTokens: tokens,
    /** Pages of the rank's pool. */
    pages: whole,
  })
  .readonly();

export type EngineLimits = z.infer<typeof limitsSchema>;

/** `flush`: the stats once the context cache has written what was computed so far. */
export const questionSchema = z.enum(["stats", "flush"]);

export type RankQuestion = z.infer<typeof questionSchema>;
