import type { StatusSnapshot, UnitStatus } from "../src/gateway/status/status-snapshot.ts";

type Role = UnitStatus["role"];

/** A moment's figures for the charts. */
export interface Sample {
  /** Milliseconds since 1970. */
  readonly time: number;
  /** Tokens a second. */
  readonly input: number;
  readonly output: number;
  /** Sequences. */
  readonly waiting: number;
  readonly prefill: number;
  readonly decode: number;
  /** Milliseconds, p50 and p95; null where nothing was said. */
  readonly firstToken: readonly [number, number] | null;
  readonly perToken: readonly [number, number] | null;
  /** The most sequences that a rank of each role ran. */
  readonly fullest: Readonly<Partial<Record<Role, number>>>;
}

/** How far back charts go. */
export const SPAN_MS = 600_000;
/** Samples that are further apart have a gap between them. */
const GAP_MS = 5000;

export function sampleOf(status: StatusSnapshot): Sample {
  const { time, requests, tokensPerSecond: rate, latency, units } = status;
  const fullest: Partial<Record<Role, number>> = {};
  for (const { role, ranks } of units) {
    fullest[role] = Math.max(fullest[role] ?? 0, ...ranks.map(({ running }) => running));
  }
  const pair = (of: (typeof latency)["firstToken"]) => of && ([of.p50, of.p95] as const);
  return {
    ...{ time, input: rate.hit + rate.miss, output: rate.output },
    ...requests,
    ...{ firstToken: pair(latency.firstToken), perToken: pair(latency.perToken), fullest },
  };
}

/** The samples with one more; those that are too old, or of a clock that was set back, are gone. */
export function extended(samples: readonly Sample[], next: Sample): readonly Sample[] {
  const kept = samples.filter(({ time }) => time < next.time && time >= next.time - SPAN_MS);
  return [...kept, next];
}

/** One line of a chart: `value` of each sample, null in gaps. [times in seconds, values of each line] */
export function columns(
  samples: readonly Sample[],
  values: readonly ((sample: Sample) => number | null)[],
): (number | null)[][] {
  const times: number[] = [];
  const lines: (number | null)[][] = values.map(() => []);
  for (const [index, sample] of samples.entries()) {
    const before = samples[index - 1];
    if (before && sample.time - before.time > GAP_MS) {
      times.push(before.time / 1000 + 1);
      for (const line of lines) line.push(null);
    }
    times.push(sample.time / 1000);
    for (const [at, value] of values.entries()) lines[at].push(value(sample));
  }
  return [times, ...lines];
}

/** What `written` made of samples; none where it is something else. */
export function readSamples(text: string | null): readonly Sample[] {
  try {
    const { version, samples } = JSON.parse(text ?? "") as { version?: number; samples: Sample[] };
    return version === VERSION ? samples : [];
  } catch {
    return [];
  }
}

/** Of samples' shape. */
const VERSION = 1;

export const writeSamples = (samples: readonly Sample[]): string =>
  JSON.stringify({ version: VERSION, samples });
