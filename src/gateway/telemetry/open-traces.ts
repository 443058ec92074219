import type { RequestTraces, TracesOptions } from "./request-traces.ts";

/**
 * Where traces go: `given`, a collector's address up to `/v1/traces`, or what OpenTelemetry's variables
 * say; undefined where neither says anything.
 */
export function otlpEndpoint(
  given: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const base = given ?? environment["OTEL_EXPORTER_OTLP_ENDPOINT"];
  const ofTraces = given ? undefined : environment["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
  if (ofTraces) return ofTraces;
  return base ? `${base.replace(/\/(v1\/traces\/?)?$/, "")}/v1/traces` : undefined;
}

/** OpenTelemetry is only loaded here. */
export async function openTraces(url: string, options: TracesOptions): Promise<RequestTraces> {
  const { OtlpTraces } = await import("./otlp-traces.ts");
  return new OtlpTraces(url, options);
}
