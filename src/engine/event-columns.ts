import type { EventColumns, HandledEvent } from "./messages.ts";

/** A step's events as columns, which threads and nodes pass on as bytes. */
export function columnsOf(events: readonly HandledEvent[]): EventColumns {
  const started: number[] = [];
  const tokens: number[] = [];
  const logprobs: number[] = [];
  const top: number[] = [];
  const topLogprobs: number[] = [];
  const finished: EventColumns["finished"] = [];
  const failed: EventColumns["failed"] = [];
  for (const { handle, event } of events) {
    if (event.kind === "started") started.push(handle, event.hitTokens);
    else if (event.kind === "finished") finished.push({ handle, reason: event.reason });
    else if (event.kind === "failed") {
      failed.push({ handle, code: event.code, message: event.message });
    } else {
      tokens.push(handle, event.token, event.top.length);
      logprobs.push(event.logprob ?? Number.NaN);
      for (const { token, logprob } of event.top) {
        top.push(token);
        topLogprobs.push(logprob);
      }
    }
  }
  return {
    started: Uint32Array.from(started),
    tokens: Uint32Array.from(tokens),
    logprobs: Float64Array.from(logprobs),
    top: Uint32Array.from(top),
    topLogprobs: Float64Array.from(topLogprobs),
    finished,
    failed,
  };
}

/** The events again; each request's in the order in which they came to pass. */
export function* eventsOf(columns: EventColumns): Generator<HandledEvent, void, undefined> {
  const { started, tokens, logprobs, top, topLogprobs, finished, failed } = columns;
  for (let i = 0; i < started.length; i += 2) {
    yield { handle: started[i], event: { kind: "started", hitTokens: started[i + 1] } };
  }
  for (let i = 0, alternative = 0; i < logprobs.length; i++) {
    const [handle, token, alternatives] = tokens.subarray(3 * i, 3 * i + 3);
    const own = Array.from({ length: alternatives }, () => ({
      token: top[alternative],
      logprob: topLogprobs[alternative++],
    }));
    const logprob = Number.isNaN(logprobs[i]) ? {} : { logprob: logprobs[i] };
    yield { handle, event: { kind: "token", token, top: own, ...logprob } };
  }
  for (const { handle, reason } of finished) yield { handle, event: { kind: "finished", reason } };
  for (const { handle, ...failure } of failed) {
    yield { handle, event: { kind: "failed", ...failure } };
  }
}
