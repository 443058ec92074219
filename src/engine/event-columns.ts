import { TOKEN_COLUMNS, type EventColumns, type HandledEvent } from "./messages.ts";

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
      const { token, top: others, proposed, refuted } = event;
      tokens.push(handle, token, others.length, Number(proposed), refuted);
      logprobs.push(event.logprob ?? Number.NaN);
      for (const other of others) {
        top.push(other.token);
        topLogprobs.push(other.logprob);
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
    const [handle, token, alternatives, proposed, refuted] = tokens.subarray(TOKEN_COLUMNS * i);
    const own = Array.from({ length: alternatives }, () => ({
      token: top[alternative],
      logprob: topLogprobs[alternative++],
    }));
    const logprob = Number.isNaN(logprobs[i]) ? {} : { logprob: logprobs[i] };
    const speculated = { proposed: proposed !== 0, refuted };
    yield { handle, event: { kind: "token", token, top: own, ...speculated, ...logprob } };
  }
  for (const { handle, reason } of finished) yield { handle, event: { kind: "finished", reason } };
  for (const { handle, ...failure } of failed) {
    yield { handle, event: { kind: "failed", ...failure } };
  }
}
