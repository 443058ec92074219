/** What a ledger's lines say, once: these schemas write them and read them. */
import { z } from "zod";
import { instant } from "./instant.ts";
import { picodollars, rate } from "./money.ts";

const count = z.int().nonnegative();
const milliseconds = z.number().nonnegative();
const byKind = <Kind extends z.ZodType>(kind: Kind) =>
  z.object({ hit: kind, miss: kind, output: kind });

const price = z.object({
  name: z.string(),
  /** When the entry of the price book became valid. */
  from: instant,
  /** Null outside peak and off-peak windows. */
  window: z.string().nullable(),
  /** In JSON dollars per million tokens. */
  rates: byKind(rate),
});

/**
 * `failed`: the client was told an error. `untold`: it left before the whole answer, which was not
 * streamed, could be sent. `tenant`, `model`: the price book says so. `unknown`: not recorded.
 */
const billing = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("billed"), price, picodollars: byKind(picodollars) }),
  z.object({
    kind: z.literal("unbilled"),
    reason: z.enum(["failed", "untold", "tenant", "model", "unknown"]),
  }),
]);

/** A request of which something was computed, written when its last sequence has ended. */
const requestRecord = z.object({
  kind: z.literal("request"),
  /** Completion, which is what decides the price. */
  time: instant,
  /** The answer's id. */
  id: z.string(),
  /** What `x-request-id` said. */
  requestId: z.string(),
  tenant: z.string(),
  model: z.string(),
  /** `left`: the client hung up; `failed`: it was told an error. */
  outcome: z.enum(["complete", "left", "failed"]),
  /** By choice; null for one that was cut. */
  finishReasons: z.array(z.enum(["stop", "length", "tool_calls"]).nullable()),
  /** As the client's usage says; a prompt counts once however many choices it has. */
  tokens: z.object({ hit: count, miss: count, output: count, reasoning: count }),
  /** Sum over output tokens of the context each was computed from, in tokens. */
  kvTokensRead: count,
  /** Sums over the sequences that generated a token, as the gateway saw their tokens come. */
  timing: z.object({
    sequences: count,
    /** Admission to first token: waiting and prefill, which the gateway cannot tell apart. */
    firstTokenMs: milliseconds,
    /** First token to last. */
    decodeMs: milliseconds,
  }),
  /** Ranks were lost and others went on, at the house's cost: how often, and the tokens computed again. */
  resumed: z.object({ times: count, recomputedTokens: count }).exactOptional(),
  billing,
});

/** Which nodes serve from now on, and at least how long they have served. */
const topologyRecord = z.object({
  kind: z.literal("topology"),
  time: instant,
  /** `alive` repeats what is so; a `start` without a `stop` before it follows a crash. */
  event: z.enum(["start", "change", "alive", "stop"]),
  prefillNodes: count,
  decodeNodes: count,
  /** Nodes whose ranks do both. */
  combinedNodes: count,
  /** A mean, where nodes differ. */
  acceleratorsPerNode: z.number().nonnegative(),
});

export const ledgerRecord = z.discriminatedUnion("kind", [requestRecord, topologyRecord]);

export type LedgerRecord = z.output<typeof ledgerRecord>;
export type RequestRecord = z.output<typeof requestRecord>;
export type TopologyRecord = z.output<typeof topologyRecord>;
export type Billing = z.output<typeof billing>;

/** The nodes that serve. */
export type Topology = Omit<TopologyRecord, "kind" | "time" | "event">;

/** A record as its line, without the newline. */
export const encodeRecord = (record: LedgerRecord): string =>
  JSON.stringify(z.encode(ledgerRecord, record));
