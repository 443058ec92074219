import type { SamplingParameters } from "../../engine/index.ts";
import type { GenerationEnd } from "../billing/index.ts";
import type { RequestTimes } from "./request-times.ts";

/** A request that has ended, as a trace tells of it: no text, no key. */
export interface TracedRequest {
  /** OpenTelemetry's name of what was asked for. */
  readonly operation: "chat" | "text_completion";
  /** W3C's headers of who called, where there are any. */
  readonly caller: { readonly traceparent?: string; readonly tracestate?: string };
  readonly requestId: string;
  readonly answerId: string;
  readonly model: string;
  readonly maxTokens: number | undefined;
  readonly choices: number;
  readonly stream: boolean;
  readonly sampling: SamplingParameters;
  readonly times: RequestTimes;
  readonly end: GenerationEnd;
  /** Milliseconds since 1970. */
  readonly endedAt: number;
}

/** Where traces of requests go. */
export interface RequestTraces {
  tell(request: TracedRequest): void;
  /** Sends what has not been sent. */
  close(): Promise<void>;
}

export interface TracesOptions {
  /** Hears, once a minute at most, why traces are lost. */
  readonly onTrouble: (reason: string) => void;
  /** Milliseconds that the collector has to take spans. */
  readonly withinMs?: number;
}
