export { Metrics } from "./metrics.ts";
export { openTraces, otlpEndpoint } from "./open-traces.ts";
export type { RequestTimes } from "./request-times.ts";
export type { RequestTraces, TracedRequest } from "./request-traces.ts";
