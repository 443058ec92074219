import { once } from "node:events";
import { createWriteStream, type WriteStream } from "node:fs";
import { nodeEvents, rankEvents, spanEvents } from "./chrome-trace.ts";
import type { SpanBatch } from "./span.ts";
import { TraceError } from "./trace-error.ts";

/** What may wait for a slow disk. */
const WAITING_BYTES = 64 * 2 ** 20;

/**
 * A Chrome trace file of any number of ranks, written while they run. It is an array of events,
 * the form whose closing bracket viewers do not insist on: what was written before the process is
 * killed can be read.
 */
export class TraceWriter {
  /** The start of the recorders' clocks, in milliseconds of Unix time. */
  readonly epochMs: number;
  readonly #file: string;
  readonly #stream: WriteStream;
  readonly #waitingBytes: number;
  /** Batches of spans. */
  #leftOut = 0;
  readonly #nodes = new Set<number>();
  readonly #ranks = new Set<string>();
  #separator = "[\n";
  #problem: Error | undefined;

  /** Creates the file, or empties it; rejects with a TraceError if that cannot be done. */
  static async create(
    file: string,
    epochMs: number,
    waitingBytes = WAITING_BYTES,
  ): Promise<TraceWriter> {
    const stream = createWriteStream(file);
    try {
      await once(stream, "open");
    } catch (error) {
      throw new TraceError(`${file}: cannot be written (${(error as Error).message})`);
    }
    return new TraceWriter(file, stream, epochMs, waitingBytes);
  }

  private constructor(file: string, stream: WriteStream, epochMs: number, waitingBytes: number) {
    this.#file = file;
    this.#stream = stream;
    this.#waitingBytes = waitingBytes;
    this.epochMs = epochMs;
    stream.on("error", (error) => (this.#problem ??= error));
  }

  /** Appends a rank's spans. A full or slow disk is no reason to stop serving: `close` tells of it. */
  write(batch: SpanBatch): void {
    if (this.#stream.writableLength > this.#waitingBytes) {
      this.#leftOut++;
      return;
    }
    this.#append([...this.#introduce(batch.node, batch.rank), ...spanEvents(batch)]);
  }

  /** Ends the file; rejects with a TraceError if any of it could not be written. */
  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      // A failed write destroys the stream at once, and is told of when the file is closed.
      if (this.#stream.closed) return resolve();
      this.#stream.once("close", resolve);
      if (!this.#stream.destroyed) this.#stream.end(this.#separator === "[\n" ? "[]\n" : "\n]\n");
    });
    if (this.#problem) throw new TraceError(`${this.#file}: ${this.#problem.message}`);
    if (this.#leftOut > 0) {
      throw new TraceError(`${this.#file}: too slow: spans were left out ${this.#leftOut} times`);
    }
  }

  /** Names for the node and the rank where this is the first that is heard of them. */
  #introduce(node: number, rank: number): string[] {
    const events: string[] = [];
    if (!this.#nodes.has(node)) events.push(...nodeEvents(node));
    if (!this.#ranks.has(`${node}/${rank}`)) events.push(...rankEvents(node, rank));
    this.#nodes.add(node);
    this.#ranks.add(`${node}/${rank}`);
    return events;
  }

  #append(events: readonly string[]): void {
    if (events.length === 0 || this.#stream.destroyed) return;
    this.#stream.write(this.#separator + events.join(",\n"));
    this.#separator = ",\n";
  }
}
