import { z } from "zod";
import type { Json } from "../../cluster/index.ts";
import { fleetPlanSchema } from "./fleet-plan.ts";
import type { EngineCommand, RankNews } from "../messages.ts";

const whole = z.int().min(0);
const token = z.int();

const request = z.object({
  id: z.string().max(256),
  tenant: z.string().max(4096),
  prompt: z.array(z.uint32()).transform((tokens) => Uint32Array.from(tokens)),
  blockKeys: z
    .base64()
    .transform((text) => Uint8Array.from(Buffer.from(text, "base64")))
    .optional(),
  choice: whole,
  maxTokens: z.number(),
  stopTokens: z.array(token),
  sampling: z.object({
    temperature: z.number(),
    topP: z.number(),
    topK: z.number(),
    minP: z.number(),
    presencePenalty: z.number(),
    frequencyPenalty: z.number(),
    repetitionPenalty: z.number(),
    logitBias: z.record(z.string(), z.number()),
    seed: z.number(),
  }),
  topLogprobs: whole.optional(),
});

const command = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("generate"), handle: whole, request, decodeRank: whole.optional() }),
  z.object({ kind: z.literal("expect"), handle: whole, request, prefillRank: whole }),
  z.object({ kind: z.literal("cancel"), handle: whole }),
  z.object({ kind: z.literal("heard") }),
  z.object({
    kind: z.literal("place"),
    version: whole,
    placement: z.array(z.array(whole)),
  }),
]);

const event = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("started"), hitTokens: whole }),
  z.object({
    kind: z.literal("token"),
    token,
    logprob: z.number().optional(),
    top: z.array(z.object({ token, logprob: z.number() })),
  }),
  z.object({ kind: z.literal("finished"), reason: z.enum(["stop", "length"]) }),
  z.object({ kind: z.literal("failed"), code: z.string(), message: z.string() }),
]);

const column = z.array(z.number());
const spans = z.object({
  node: whole,
  rank: whole,
  names: column.transform((values) => Uint8Array.from(values)),
  starts: column.transform((values) => Float64Array.from(values)),
  /** JSON has no NaN. */
  ends: z
    .array(z.number().nullable())
    .transform((values) => Float64Array.from(values, (value) => value ?? Number.NaN)),
  steps: column.transform((values) => Int32Array.from(values)),
  layers: column.transform((values) => Int16Array.from(values)),
  rows: column.transform((values) => Int32Array.from(values)),
  microBatches: column.transform((values) => Uint8Array.from(values)),
});

const counts = z.array(whole);
const stats = z.object({
  waiting: whole,
  running: whole,
  pages: whole,
  pagesInUse: whole,
  pagesCached: whole,
  steps: whole,
  promptTokens: whole,
  hitTokens: whole,
  generatedTokens: whole,
  preemptions: whole,
  traffic: z.object({ rowsTo: counts, bytesTo: counts, expertLoads: z.array(counts) }).optional(),
  contextCache: z
    .object({
      hits: whole,
      misses: whole,
      bytesRead: whole,
      written: whole,
      bytesWritten: whole,
      dropped: whole,
      late: whole,
      failed: whole,
      rejected: z.record(z.string(), whole),
      bypassed: z.object({ reads: z.string().optional(), writes: z.string().optional() }),
    })
    .optional(),
});

const limits = z.object({
  maxModelLen: whole,
  vocabSize: whole,
  eosTokens: z.array(token),
  pages: whole,
});

/** What the coordinator tells another node. */
export const orderSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("command"), rank: whole, command }),
  /** The cluster ends, and not by accident. */
  z.object({ kind: z.literal("close") }),
]);

/** What the coordinator asks another node. */
export const questionSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("start"), plan: fleetPlanSchema }),
  z.object({ kind: z.literal("stats"), rank: whole }),
  z.object({ kind: z.literal("flush"), rank: whole }),
]);

/** Answers to `start`: the limits of each of the node's ranks, ascending. */
export const startedSchema = z.array(limits);
/** Answers to `stats` and `flush`. */
export const statsSchema = stats;

/** What another node tells the coordinator. */
export const newsSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("events"),
    rank: whole,
    events: z.array(z.object({ handle: whole, event })),
    pagesInUse: whole.optional(),
  }),
  z.object({ kind: z.literal("spans"), rank: whole, spans }),
  /** A rank's thread has ended, however that came. */
  z.object({ kind: z.literal("ended"), rank: whole, message: z.string() }),
  /** The link to another node has broken. */
  z.object({ kind: z.literal("unreachable"), node: whole, reason: z.string() }),
]);

/** @throws Error naming the field that is wrong */
export function parseBody<T>(body: Json, schema: z.ZodType<T>): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [{ path, message }] = result.error.issues;
  throw new Error(`${path.join(".")}: ${message}`);
}

/** Absent fields stay behind when a body becomes JSON, which is all that `Json` would refuse. */
const bodyOf = (value: object) => value as unknown as Json;

export function orderOf(rank: number, given: EngineCommand): Json {
  if (!("request" in given)) return bodyOf({ kind: "command", rank, command: given });
  const { prompt, blockKeys, ...rest } = given.request;
  const written = {
    ...{ ...rest, prompt: [...prompt] },
    ...(blockKeys && { blockKeys: Buffer.from(blockKeys).toString("base64") }),
  };
  return bodyOf({ kind: "command", rank, command: { ...given, request: written } });
}

/** What a rank reports, as its node passes it on. */
export function newsOf(rank: number, report: RankNews): Json {
  if (report.kind === "events") return bodyOf({ ...report, rank });
  const arrays = Object.entries(report.spans).map(([name, values]: [string, unknown]) => [
    name,
    ArrayBuffer.isView(values) ? [...(values as Uint8Array)] : values,
  ]);
  return bodyOf({ kind: "spans", rank, spans: Object.fromEntries(arrays) });
}
