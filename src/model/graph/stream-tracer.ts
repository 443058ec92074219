import type { Stream } from "../../kernels/index.ts";
import {
  activityOf,
  isTimed,
  type Span,
  type SpanName,
  type TimedTracer,
  type Tracer,
} from "../../trace/index.ts";

/** The tracer, or one whose spans a stream times that computes on its own. */
export function streamTracer(tracer: Tracer, stream: Stream): Tracer {
  return isTimed(tracer) && stream.stamp ? new StreamTracer(tracer, stream) : tracer;
}

/**
 * A step is timed from its first command to the last token, what is in it when the stream computes it, and
 * what is waited for when it is. So are rows under way from and to a rank that awaits its stream for them.
 */
class StreamTracer implements Tracer {
  readonly #tracer: TimedTracer;
  readonly #stream: Stream;
  readonly #epoch: number;
  #step: Span | undefined;
  /** Spans that begin and end when they are told to. */
  readonly #told = new Set<Span>();

  constructor(tracer: TimedTracer, stream: Stream) {
    this.#tracer = tracer;
    this.#stream = stream;
    this.#epoch = tracer.monotonicEpoch;
  }

  beginStep(step: number, rows: number): Span {
    this.#step = this.#tracer.beginStep(step, rows);
    return this.#step;
  }

  begin(name: SpanName, layer: number, rows: number, microBatch?: number): Span {
    const span = this.#tracer.begin(name, layer, rows, microBatch);
    const activity = activityOf(name);
    if (activity === "waiting" || (activity === "communication" && this.#stream.computesAtFence)) {
      this.#told.add(span);
      return span;
    }
    this.#stream.stamp?.(this.#tracer.timesOf(span).start, this.#epoch);
    return span;
  }

  end(span: Span): void {
    if (this.#told.delete(span) || span === this.#step) this.#tracer.end(span);
    else this.#stream.stamp?.(this.#tracer.timesOf(span).end, this.#epoch);
  }
}
