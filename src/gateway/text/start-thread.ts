import type { Clock } from "../../cluster/index.ts";
import type { TextFormat } from "./messages.ts";
import type { CreateTextThread, TextThread, TextThreadListener } from "./text-thread.ts";

export interface StartOptions {
  readonly createThread: CreateTextThread;
  readonly clock: Clock;
  /** For reading each of a folder's files, and again for trying what it says. */
  readonly startLimitMs: number;
}

/** A folder whose tokenizer or chat template cannot be used; the message names the file. */
class TextWorkerError extends Error {
  override readonly name = "TextWorkerError";
}

export interface StartedThread {
  readonly thread: TextThread;
  readonly format: TextFormat;
}

/**
 * A thread that is ready for tasks. Each of its stages up to there has a time limit.
 * @throws TextWorkerError
 */
export function startThread(
  { createThread, clock, startLimitMs }: StartOptions,
  listener: TextThreadListener,
): Promise<StartedThread> {
  return new Promise((resolve, reject) => {
    let what = "the text worker";
    let ready = false;
    let cancelTimer = () => {};
    const refuse = (message: string) => {
      cancelTimer();
      const error = new TextWorkerError(message);
      thread.terminate().then(() => reject(error), reject);
    };
    const thread = createThread({
      report: (report) => {
        if (ready) {
          listener.report(report);
          return;
        }
        cancelTimer();
        if (report.kind === "ready") {
          ready = true;
          resolve({ thread, format: report.format });
        } else if (report.kind === "trying") {
          what = report.what;
          const late = () => refuse(`${what} took longer than ${startLimitMs} ms`);
          cancelTimer = clock.after(startLimitMs, late);
        } else refuse(report.kind === "refused" ? report.message : `${what}: ${report.kind}`);
      },
      ended: (message) => {
        if (ready) listener.ended(message);
        else refuse(`${what} ${message}`);
      },
    });
  });
}
