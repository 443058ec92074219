import assert from "node:assert/strict";
import { greedySampling } from "../../kernels/index.ts";
import type { Engine } from "./client.ts";
import type { AskedRequest, GenerationEvent, TimedEvent } from "../messages.ts";

/** A greedy request of twelve tokens with logprobs. */
export function request(
  prompt: AskedRequest["prompt"],
  change: Partial<AskedRequest> = {},
): AskedRequest {
  return {
    id: "r",
    tenant: "",
    prompt,
    choice: 0,
    maxTokens: 12,
    stopTokens: [],
    topLogprobs: 2,
    sampling: greedySampling,
    ...change,
  };
}

/** What a client is told, but for when. */
export async function read(events: AsyncIterable<TimedEvent>): Promise<GenerationEvent[]> {
  const all: TimedEvent[] = [];
  for await (const event of events) all.push(event);
  return untimed(all);
}

export const untimed = (events: readonly TimedEvent[]): GenerationEvent[] =>
  events.flatMap((timed) => {
    const { time: _, ...event } = timed;
    return event.kind === "resumed" ? [] : [event];
  });

/** Tokens and logprobs, which nothing about a run may change; whether they were proposed may differ. */
export const answer = (events: readonly GenerationEvent[]): GenerationEvent[] =>
  events
    .filter(({ kind }) => kind === "token" || kind === "finished")
    .map((event) => (event.kind === "token" ? { ...event, proposed: false, refuted: 0 } : event));

/** Prompt tokens that a cache answered. */
export function hits(events: readonly GenerationEvent[]): number | undefined {
  const started = events.find((event) => event.kind === "started");
  return started?.kind === "started" ? started.hitTokens : undefined;
}

/** Waits until the engine holds nothing, which takes a step at most. */
export async function emptied(engine: Engine): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const { running, waiting, pagesInUse } = await engine.stats();
    if (running + waiting + pagesInUse === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.fail(`the engine still holds ${JSON.stringify(await engine.stats())}`);
}
