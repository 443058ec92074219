/**
 * What `/status` tells and the dashboard shows: these schemas type it and document it in
 * `/openapi.json`. Counts are since the server started. Rates are differences of counts over
 * `seconds`. Nothing here names a request, a client or a text.
 */
import { z } from "@hono/zod-openapi";

const count = z.int().nonnegative();
const perSecond = z.number().nonnegative();
const share = z.number().min(0).max(1);

/** Of blocks, and of reads and writes; a store that keeps giving no answer is bypassed. */
const contextCache = z.object({
  hits: count,
  misses: count,
  /** Of a decode rank: given to the ranks that computed their prompts. */
  lent: count,
  written: count,
  bytesRead: count,
  bytesWritten: count,
  dropped: count,
  late: count,
  failed: count,
  rejected: count,
  bypassed: z.array(z.enum(["reads", "writes"])),
});

/** What prefill ranks send to decode ranks: sequences, and the KV of positions that those lack. */
const handover = z.object({ sequences: perSecond, tokens: perSecond, bytes: perSecond });

const rankStatus = z.object({
  /** Its number in the cluster. */
  rank: count,
  node: count,
  /** Its thread or its node is gone. */
  lost: z.boolean(),
  /** Sequences; on a decode rank those that a prefill rank still computes are waiting. */
  waiting: count,
  running: count,
  /** Pages of the KV pool: in use by sequences, or kept because a prefix may come again. */
  pages: z.object({ total: count, inUse: count, cached: count }),
  promptTokensPerSecond: perSecond,
  generatedTokensPerSecond: perSecond,
  /** Sent to the other ranks of its unit: rows dispatched, and expert rows returned. */
  bytesPerSecond: perSecond,
  /** Of a prefill rank. */
  handedOverPerSecond: handover.optional(),
  /** Where blocks are kept outside the pool. */
  contextCache: contextCache.optional(),
});

const expertLayer = z.object({
  /** Index of the layer in the model. */
  layer: count,
  /** Logical expert of each physical one; ranks that share them hold equal parts, in order. */
  physicalToLogical: z.array(count),
  /** How often each logical expert was chosen. */
  choices: z.array(count),
});

const unitLife = z.object({
  /** Its number; a unit that is started anew has a new one. */
  unit: count,
  /** `draining`: it finishes what it has; `lost`: it lacks a rank that it needs. */
  state: z.enum(["starting", "serving", "draining", "lost"]),
});

const unitStatus = unitLife.extend({
  role: z.enum(["prefill", "decode", "combined"]),
  ranks: z.array(rankStatus),
  /** Whether the ranks share the experts and step together; else every rank holds all. */
  sharesExperts: z.boolean(),
  /** Of the steps that `seconds` saw, the share in which micro-batches overlapped; null: no steps. */
  overlapped: share.nullable(),
  /** Layers with routed experts. */
  experts: z.array(expertLayer),
});

const role = z.enum(["prefill", "decode", "combined"]);

/** Another number of units was wanted. */
const scaleChange = z.object({
  time: z.int(),
  role,
  from: count,
  to: count,
  because: z.string(),
});

const milliseconds = z.number().nonnegative();
const percentiles = z.object({ p50: milliseconds, p95: milliseconds }).nullable();

/** A sequence's way over the ranks; times are milliseconds since 1970, of what has come to pass. */
const journey = z.object({
  /** Numbers the sequences since the server started. */
  number: count,
  /** Computes the prompt, and the rest where no other rank does. */
  rank: count,
  decodeRank: count.optional(),
  asked: z.int(),
  /** Its computation began. */
  started: z.int().optional(),
  /** Its first token came. */
  prefilled: z.int().optional(),
  /** The decode rank's first token came. */
  takenOver: z.int().optional(),
  /** It is over, one way or another. */
  ended: z.int().optional(),
});

const byKind = <Kind extends z.ZodType>(kind: Kind) =>
  z.object({ hit: kind, miss: kind, output: kind });

/** Dollars with every digit they have. */
const dollars = z.string().regex(/^\d+(\.\d+)?$/);

export const statusSnapshot = z
  .object({
    /** Milliseconds since 1970. */
    time: z.int(),
    /** What rates are taken over; 0 where nobody looked before, and then rates are 0. */
    seconds: z.number().nonnegative(),
    upSeconds: z.number().nonnegative(),
    /** All models of the server, each by its first name: `?model=` asks for one. */
    served: z.array(z.string()),
    /** The names of the model that all that follows tells of. */
    models: z.array(z.string()),
    /** Tokens. */
    maxModelLen: count,
    /** `down`: loads of ranks are unknown and told as 0. */
    engine: z.enum(["up", "down"]),
    /** Nobody is let in any more. */
    draining: z.boolean(),
    units: z.array(unitStatus),
    /** Units that are wanted, by what they compute, and how that came about: the last changes, oldest first. */
    scaling: z.object({
      wanted: z.partialRecord(role, count),
      changes: z.array(scaleChange),
    }),
    /** Sequences inside, by what they have: no computation yet, no token yet, tokens. */
    requests: z.object({ waiting: count, prefill: count, decode: count }),
    /** Sequences that went on after a loss of ranks, and the tokens that were computed again for it. */
    resumed: z.object({ requests: count, recomputedTokens: count }),
    /** Prompt tokens the cache answered and those it did not, and generated tokens, as billed. */
    tokens: byKind(count),
    tokensPerSecond: byKind(perSecond),
    /**
     * Of the last minute's tokens, in milliseconds: the first of each sequence since it was asked for, and
     * the others since the one before. Null where there were none.
     */
    latency: z.object({ firstToken: percentiles, perToken: percentiles }),
    /** Sequences on their way, and those that ended within `seconds`: of many at a time, some. */
    journeys: z.array(journey),
    /** All tokens at one model's standard price, whatever is billed. */
    income: z.object({
      price: z.string(),
      dollarsPerMillionTokens: byKind(dollars),
      total: dollars,
    }),
    /** As if every rank were an accelerator rented at this price. */
    cost: z.object({ acceleratorHour: dollars, accelerators: count, perHour: dollars }),
  })
  .openapi("Status");

/** What `/rebalance` answers: the units whose experts moved. */
export const rebalancing = z
  .object({
    units: z.array(
      z.object({
        /** Index among the units of `/status`. */
        unit: count,
        /** Load of the busiest rank over the mean, the mean over layers. */
        before: z.number(),
        after: z.number(),
      }),
    ),
  })
  .openapi("Rebalancing");

/** Needed where there are several models. */
const model = z.string().nullish();

/** What `/rebalance` is asked. */
export const rebalanceRequest = z.object({ model }).openapi("RebalanceRequest");

const wantedUnits = z.int().min(1);

/** What `/scale` is asked: so many units of each role that is named, and nothing that nobody knows. */
export const scaleRequest = z
  .strictObject({
    model,
    prefill: wantedUnits.exactOptional(),
    decode: wantedUnits.exactOptional(),
    combined: wantedUnits.exactOptional(),
  })
  .openapi("ScaleRequest");

/** What `/scale` answers: the units as they are now; those that are to start or to drain take a while. */
export const scaling = z
  .object({
    units: z.array(unitLife.extend({ role: z.enum(["prefill", "decode", "combined"]) })),
    /** Why units that are wanted do not start. */
    problems: z.array(z.string()),
  })
  .openapi("Scaling");

export type ScaleRequest = z.infer<typeof scaleRequest>;
export type Scaling = z.infer<typeof scaling>;
export type Rebalancing = z.infer<typeof rebalancing>;
export type StatusSnapshot = z.infer<typeof statusSnapshot>;
export type UnitStatus = z.infer<typeof unitStatus>;
export type RankStatus = z.infer<typeof rankStatus>;
export type ExpertLayer = z.infer<typeof expertLayer>;
export type Journey = z.infer<typeof journey>;
