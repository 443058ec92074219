import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import {
  type ExportResult,
  ExportResultCode,
  W3CTraceContextPropagator,
} from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { detectResources, envDetector, resourceFromAttributes } from "@opentelemetry/resources";
import {
  BatchSpanProcessor,
  type ReadableSpan,
  type SpanExporter,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { version } from "../../engine/index.ts";
import type { SequenceTimes } from "./request-times.ts";
import type { RequestTraces, TracedRequest, TracesOptions } from "./request-traces.ts";

/** Spans that wait to be sent; more are dropped. */
const QUEUE = 2048;
const SEND_EVERY_MS = 1000;
const WITHIN_MS = 10_000;

const propagator = new W3CTraceContextPropagator();

const headers = {
  get: (carrier: Record<string, string>, key: string) => carrier[key],
  keys: (carrier: Record<string, string>) => Object.keys(carrier),
};

/** Requests as OpenTelemetry's spans, with the names of its conventions for generative models. */
export class OtlpTraces implements RequestTraces {
  readonly #provider: TracerProvider;

  constructor(url: string, { onTrouble, withinMs = WITHIN_MS }: TracesOptions) {
    const exporter = new TellingExporter(
      new OTLPTraceExporter({ url, timeoutMillis: withinMs }),
      onTrouble,
    );
    const about = { "service.name": "daysix", "service.version": version };
    this.#provider = new TracerProvider({
      resource: resourceFromAttributes(about).merge(detectResources({ detectors: [envDetector] })),
      spanProcessors: [
        new BatchSpanProcessor({
          ...{ exporter, maxQueueSize: QUEUE, scheduledDelayMillis: SEND_EVERY_MS },
          exportTimeoutMillis: withinMs,
        }),
      ],
    });
  }

  /** A span of the request, and in it three of each choice: queue, prefill, decode. */
  tell(request: TracedRequest): void {
    const { operation, model, times, end, endedAt } = request;
    const tracer = this.#provider.getTracer("daysix", version);
    const carrier = Object.fromEntries(
      Object.entries(request.caller).filter(([, value]) => value !== undefined),
    );
    const parent = propagator.extract(ROOT_CONTEXT, carrier, headers);
    const span = tracer.startSpan(
      `${operation} ${model}`,
      { kind: SpanKind.SERVER, startTime: times.admitted, attributes: attributesOf(request) },
      parent,
    );
    const inside = trace.setSpan(parent, span);
    for (const [choice, sequence] of times.sequences.entries()) {
      this.#tellPhases(sequence, { "daysix.choice": choice }, inside, endedAt);
    }
    if (end.outcome === "failed") {
      span.setStatus({ code: SpanStatusCode.ERROR });
      span.setAttribute("error.type", "engine_failed");
    }
    span.end(Math.max(endedAt, times.admitted));
  }

  async close(): Promise<void> {
    await this.#provider.shutdown();
  }

  #tellPhases(times: SequenceTimes, attributes: Attributes, inside: Context, end: number): void {
    const tracer = this.#provider.getTracer("daysix", version);
    const { admitted, startedAt, firstTokenAt, lastTokenAt } = times;
    const phases = [
      ["queue", admitted, startedAt],
      ["prefill", startedAt, firstTokenAt],
      ["decode", firstTokenAt, lastTokenAt],
    ] as const;
    for (const [name, from, to] of phases) {
      if (from === undefined) return;
      tracer
        .startSpan(name, { startTime: from, attributes }, inside)
        .end(Math.max(to ?? end, from));
    }
  }
}

/** https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/ */
function attributesOf(request: TracedRequest): Attributes {
  const { sampling, end, times } = request;
  const { usage } = end;
  const firsts = times.sequences.flatMap(({ firstTokenAt }) => firstTokenAt ?? []);
  return {
    "gen_ai.operation.name": request.operation,
    "gen_ai.provider.name": "daysix",
    "gen_ai.request.model": request.model,
    "gen_ai.request.choice.count": request.choices,
    "gen_ai.request.stream": request.stream,
    ...(request.maxTokens === undefined ? {} : { "gen_ai.request.max_tokens": request.maxTokens }),
    "gen_ai.request.temperature": sampling.temperature,
    "gen_ai.request.top_p": sampling.topP,
    "gen_ai.request.top_k": sampling.topK,
    "gen_ai.request.presence_penalty": sampling.presencePenalty,
    "gen_ai.request.frequency_penalty": sampling.frequencyPenalty,
    "gen_ai.request.seed": sampling.seed,
    "gen_ai.response.id": request.answerId,
    "gen_ai.response.model": request.model,
    "gen_ai.response.finish_reasons": end.finishReasons.map((reason) => reason ?? end.outcome),
    ...(firsts.length === 0
      ? {}
      : {
          "gen_ai.response.time_to_first_chunk": (Math.min(...firsts) - times.admitted) / 1000,
        }),
    "gen_ai.usage.input_tokens": usage.prompt_tokens,
    "gen_ai.usage.output_tokens": usage.completion_tokens,
    "gen_ai.usage.cache_read.input_tokens": usage.prompt_cache_hit_tokens,
    "gen_ai.usage.reasoning.output_tokens": usage.completion_tokens_details?.reasoning_tokens ?? 0,
    "daysix.request.id": request.requestId,
  };
}

/** Failures that come within this are told once. */
const TELL_EVERY_MS = 60_000;

/** A collector that takes nothing is no reason to fail, but one to say so. */
class TellingExporter implements SpanExporter {
  readonly #exporter: SpanExporter;
  readonly #onTrouble: TracesOptions["onTrouble"];
  #toldAt = -Infinity;

  constructor(exporter: SpanExporter, onTrouble: TracesOptions["onTrouble"]) {
    this.#exporter = exporter;
    this.#onTrouble = onTrouble;
  }

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    this.#exporter.export(spans, (result) => {
      if (result.code === ExportResultCode.FAILED) this.#tell(result.error);
      // OpenTelemetry would only tell its own log.
      done({ code: ExportResultCode.SUCCESS });
    });
  }

  async shutdown(): Promise<void> {
    await this.#exporter.shutdown();
  }

  #tell(error: Error | undefined): void {
    const now = performance.now();
    if (now - this.#toldAt < TELL_EVERY_MS) return;
    this.#toldAt = now;
    this.#onTrouble(error?.message || "the collector takes no traces");
  }
}
