import type { CompleteEvent } from "./chrome-trace.ts";
import type { Interval } from "./intervals.ts";
import type { TracedSpan } from "./span.ts";

/**
 * Work of a GPU in a trace of the PyTorch profiler (Kineto): kernels and copies are complete
 * events whose process is the device and whose thread is the stream.
 */
const deviceCategories: ReadonlySet<string> = new Set(["kernel", "gpu_memcpy", "gpu_memset"]);
/** Calls of the host that launch the device's work; call and work carry the same `args.correlation`. */
const launchCategories: ReadonlySet<string> = new Set(["cuda_runtime", "cuda_driver"]);

interface Annotation extends Interval {
  readonly name: string;
}

/** Gathers a profiler's events, in whatever order the file has them. */
export class KinetoEvents {
  readonly #work: { readonly span: TracedSpan; readonly correlation: unknown }[] = [];
  /** Time of the launching call, by correlation. */
  readonly #launches = new Map<unknown, number>();
  readonly #annotations: Annotation[] = [];

  add(event: CompleteEvent): void {
    const { cat, name, ts: start, dur, args } = event;
    const correlation = args?.["correlation"];
    if (deviceCategories.has(cat)) {
      this.#work.push({ span: spanOfWork(event), correlation });
    } else if (launchCategories.has(cat)) {
      if (correlation !== undefined) this.#launches.set(correlation, start);
    } else if (cat === "user_annotation") {
      this.#annotations.push({ name, start, end: start + dur });
    }
  }

  /**
   * Spans of the devices. Work is called after the innermost annotation that its launch lies in,
   * on any thread of the host (a backward pass launches from a thread of its own); without one,
   * after its function.
   */
  spans(): TracedSpan[] {
    const annotationAt = innermost(this.#annotations);
    return this.#work.map(({ span, correlation }) => {
      const launched = this.#launches.get(correlation);
      const annotation = launched === undefined ? undefined : annotationAt(launched);
      return annotation ? { ...span, kind: annotation.name } : span;
    });
  }
}

function spanOfWork({ name, cat, pid, ts, dur }: CompleteEvent): TracedSpan {
  const symbol = cat === "kernel" ? qualifiedName(name) : cat;
  const called = symbol.split("::").at(-1) ?? symbol;
  const communicates = isCommunication(symbol, called);
  const [direction] = (communicates && /dispatch|combine/.exec(called)) || [];
  return {
    rank: `GPU ${pid}`,
    activity: communicates ? "communication" : "compute",
    kind: direction?.toUpperCase() ?? called,
    start: ts,
    end: ts + dur,
  };
}

/** `void a::b::f<T>(int)` is `a::b::f`. */
function qualifiedName(signature: string): string {
  const [beforeArguments] = signature.replaceAll("(anonymous namespace)::", "").split(/[<(]/, 1);
  return beforeArguments.trim().split(" ").at(-1) ?? signature;
}

/**
 * NCCL's collectives, and the kernels of DeepEP and of its forerunner in profile-data. Attention
 * over split contexts has a "combine" of its own, which is computation.
 */
function isCommunication(symbol: string, called: string): boolean {
  return (
    /^nccl/i.test(called) ||
    /(?:^|::)(?:deep_)?ep::/.test(symbol) ||
    /^(?:dispatch|combine)(?:_ll)?$/.test(called)
  );
}

/** Of the annotations that have begun and not ended at a time, the one that began last. */
function innermost(annotations: readonly Annotation[]): (time: number) => Annotation | undefined {
  const sorted = annotations.toSorted((a, b) => a.start - b.start);
  // outer[i]: the annotation that began last before i and had not ended then.
  const outer = new Int32Array(sorted.length);
  let open = -1;
  sorted.forEach(({ start }, i) => {
    while (open >= 0 && sorted[open].end <= start) open = outer[open];
    outer[i] = open;
    open = i;
  });
  return (time) => {
    let i = lastAtOrBefore(sorted, time);
    while (i >= 0 && sorted[i].end <= time) i = outer[i];
    return sorted[i];
  };
}

/** Index of the last interval that starts at a time or before; -1 if no interval does. */
function lastAtOrBefore(sorted: readonly Interval[], time: number): number {
  let low = -1;
  let high = sorted.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle].start <= time) low = middle;
    else high = middle;
  }
  return low;
}
