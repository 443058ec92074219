import { addContextCacheStats } from "../../kv-cache/index.ts";
import type { EngineStats } from "../messages.ts";

const idle = { waiting: 0, running: 0, pages: 0, pagesInUse: 0, pagesCached: 0 } as const;
/** Of a rank of which nothing was heard. */
export const noStats: EngineStats = {
  ...idle,
  steps: 0,
  promptTokens: 0,
  hitTokens: 0,
  ...{ generatedTokens: 0, proposedTokens: 0, acceptedTokens: 0 },
  preemptions: 0,
};

/** Of a rank that is gone: what it counted, as far as was heard, and nothing that it holds. */
export const lostStats = (last: EngineStats | undefined, reason: string): EngineStats => ({
  ...noStats,
  ...last,
  ...idle,
  lost: reason,
});

/** What is kept of a rank for sums only. */
export function withoutTraffic(stats: EngineStats): EngineStats {
  const { traffic: _traffic, ...sums } = stats;
  return sums;
}

type HandedOver = NonNullable<EngineStats["handedOver"]>;

const addHandedOver = (a: HandedOver, b: HandedOver): HandedOver => ({
  sequences: a.sequences + b.sequences,
  tokens: a.tokens + b.tokens,
  bytes: a.bytes + b.bytes,
});

/** Sums; traffic and overlapped steps are a rank's own. */
export function addStats(a: EngineStats, b: EngineStats): EngineStats {
  const caches = [a, b].flatMap(({ contextCache }) => contextCache ?? []);
  const handedOver = [a, b].flatMap((each) => each.handedOver ?? []);
  return {
    waiting: a.waiting + b.waiting,
    running: a.running + b.running,
    pages: a.pages + b.pages,
    pagesInUse: a.pagesInUse + b.pagesInUse,
    pagesCached: a.pagesCached + b.pagesCached,
    steps: a.steps + b.steps,
    promptTokens: a.promptTokens + b.promptTokens,
    hitTokens: a.hitTokens + b.hitTokens,
    generatedTokens: a.generatedTokens + b.generatedTokens,
    proposedTokens: a.proposedTokens + b.proposedTokens,
    acceptedTokens: a.acceptedTokens + b.acceptedTokens,
    preemptions: a.preemptions + b.preemptions,
    ...(handedOver.length > 0 && { handedOver: handedOver.reduce(addHandedOver) }),
    ...(caches.length > 0 && { contextCache: caches.reduce(addContextCacheStats) }),
  };
}
