import { open, type FileHandle } from "node:fs/promises";
import { pipeline } from "node:stream";
import { constants, createGunzip } from "node:zlib";
import { spanOf, type CompleteEvent } from "./chrome-trace.ts";
import { EventScanner } from "./event-scanner.ts";
import { KinetoEvents } from "./kineto.ts";
import type { TracedSpan } from "./span.ts";
import { TraceError } from "./trace-error.ts";

export interface Trace {
  /** Who recorded it. */
  readonly source: "DaySix" | "PyTorch profiler";
  readonly spans: readonly TracedSpan[];
  /** The file ends before its JSON does: the writer was killed, or is still at work. */
  readonly cut: boolean;
}

/**
 * Reads a Chrome trace of DaySix or of the PyTorch profiler, gzipped or not, of any length. A trace
 * that was cut is read up to its last whole event. Rejects with a TraceError that names the file
 * and what is wrong with it.
 */
export async function readTrace(file: string): Promise<Trace> {
  try {
    return await readSpans(contentOf(file));
  } catch (error) {
    throw new TraceError(`${file}: ${problemOf(error as NodeJS.ErrnoException)}`);
  }
}

async function readSpans(chunks: AsyncIterable<Buffer>): Promise<Trace> {
  const scanner = new EventScanner();
  const spans: TracedSpan[] = [];
  const kineto = new KinetoEvents();
  let events = 0;
  for await (const chunk of chunks) {
    for (const event of scanner.push(chunk)) {
      events++;
      if (!isComplete(event)) continue;
      const span = spanOf(event);
      if (span) spans.push(span);
      else kineto.add(event);
    }
  }
  const cut = !scanner.complete;
  if (spans.length > 0) return { source: "DaySix", spans, cut };
  const deviceSpans = kineto.spans();
  if (deviceSpans.length > 0) return { source: "PyTorch profiler", spans: deviceSpans, cut };
  throw new TraceError(
    events === 0
      ? `no trace events${cut ? " before the file's end" : ""}`
      : `none of the ${events} events is a span of DaySix or GPU work of the PyTorch profiler`,
  );
}

/** Bytes of a file, unpacked if they are gzip's. */
async function* contentOf(file: string): AsyncGenerator<Buffer> {
  const handle = await open(file);
  try {
    const packed = await startsAsGzip(handle);
    const bytes = handle.createReadStream({ start: 0, autoClose: false });
    if (!packed) return yield* bytes;
    // With this flush, a file that was cut ends instead of failing.
    const gunzip = createGunzip({ finishFlush: constants.Z_SYNC_FLUSH });
    pipeline(bytes, gunzip, () => undefined);
    yield* gunzip;
  } finally {
    await handle.close();
  }
}

async function startsAsGzip(handle: FileHandle): Promise<boolean> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0);
  return bytesRead === 2 && buffer.readUInt16BE() === 0x1f8b;
}

function isComplete(event: unknown): event is CompleteEvent {
  const { ph, name, cat, ts, dur } = event as Record<string, unknown>;
  return (
    ph === "X" &&
    typeof name === "string" &&
    typeof cat === "string" &&
    typeof ts === "number" &&
    typeof dur === "number"
  );
}

function problemOf(error: NodeJS.ErrnoException): string {
  if (error instanceof TraceError) return error.message;
  if (error instanceof SyntaxError) return `not JSON of trace events (${error.message})`;
  if (error.code === "ENOENT") return "no such file";
  if (error.code?.startsWith("Z_")) return `damaged gzip (${error.message})`;
  return error.message;
}
