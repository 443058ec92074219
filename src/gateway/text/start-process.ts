import { afterAwake, type Clock, settleInTime } from "../../cluster/index.ts";
import type { TextFormat } from "./messages.ts";
import type { CreateTextProcess, TextProcess, TextProcessListener } from "./text-process.ts";

export interface StartOptions {
  readonly createProcess: CreateTextProcess;
  readonly clock: Clock;
  /** For its first word, for reading each of a folder's files, and again for trying what it says. */
  readonly startLimitMs: number;
}

/** A folder whose tokenizer or chat template cannot be used; the message names the file. */
class TextWorkerError extends Error {
  override readonly name = "TextWorkerError";
}

export interface StartedProcess {
  readonly child: TextProcess;
  readonly format: TextFormat;
}

/**
 * A process that is ready for tasks. Each of its stages up to there has a time limit.
 * @throws TextWorkerError
 */
export function startProcess(
  { createProcess, clock, startLimitMs }: StartOptions,
  listener: TextProcessListener,
): Promise<StartedProcess> {
  return new Promise((resolve, reject) => {
    let what = "the text worker";
    let ready = false;
    let cancelTimer = () => {};
    const refuse = (message: string) => {
      cancelTimer();
      void endInTime(child, clock).then(() => reject(new TextWorkerError(message)));
    };
    const arm = () => {
      const late = () => refuse(`${what} took longer than ${startLimitMs} ms`);
      cancelTimer = afterAwake(clock, startLimitMs, late);
    };
    const child = createProcess({
      report: (report) => {
        if (ready) {
          listener.report(report);
          return;
        }
        cancelTimer();
        if (report.kind === "ready") {
          ready = true;
          resolve({ child, format: report.format });
        } else if (report.kind === "trying") {
          what = report.what;
          arm();
        } else refuse(report.kind === "refused" ? report.message : `${what}: ${report.kind}`);
      },
      ended: (message) => {
        if (ready) listener.ended(message);
        else refuse(`${what} ${message}`);
      },
    });
    // A folder on a mount that is dead may never let it speak.
    arm();
  });
}

const END_LIMIT_MS = 2_000;

/** A process that waits for a dead mount may not even be killed; nobody waits for it longer than this. */
export const endInTime = (child: TextProcess, clock: Clock): Promise<void> =>
  settleInTime(child.terminate(), clock, END_LIMIT_MS);
