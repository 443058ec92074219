export {
  activityOf,
  NO_LAYER,
  spanNames,
  type SpanBatch,
  type SpanName,
  type TracedSpan,
  type Track,
  type WaitName,
} from "./span.ts";
export {
  clockSince,
  isTimed,
  nullTracer,
  SpanRecorder,
  waitFor,
  type Clock,
  type Span,
  type TimedTracer,
  type Tracer,
} from "./tracer.ts";
export { TraceError } from "./trace-error.ts";
export { TraceWriter } from "./trace-writer.ts";
export { readTrace, type Trace } from "./trace-reader.ts";
export { analyse, type TraceAnalysis } from "./analysis.ts";
