import { spawn } from "node:child_process";
import { constants } from "node:os";
import { notice, printProblem, printUncaught } from "./notice.ts";
import { inTime, systemClock, type Clock } from "../cluster/index.ts";

/** Something that is open until the process ends. */
interface Resource {
  readonly name: string;
  /** Milliseconds that closing it may take. */
  readonly withinMs: number;
  readonly close: () => Promise<unknown>;
}

/** What a process has opened. All of it is closed, last opened first, whatever fails. */
export class Shutdown {
  readonly #opened: Resource[] = [];
  readonly #tell: (problem: unknown) => void;
  readonly #clock: Clock;

  /** `tell` hears why something could not be closed. */
  constructor(tell: (problem: unknown) => void, clock = systemClock) {
    this.#tell = tell;
    this.#clock = clock;
  }

  opened(resource: Resource): void {
    this.#opened.push(resource);
  }

  /** Resolves when every resource is closed, has failed to close, or was late. */
  async close(): Promise<void> {
    for (let resource = this.#opened.pop(); resource; resource = this.#opened.pop()) {
      const { name } = resource;
      await this.#close(resource).catch((error: unknown) => {
        const { message } = error as Error;
        this.#tell(new Error(`${name} did not close: ${message}`, { cause: error }));
      });
    }
  }

  #close({ close, withinMs }: Resource): Promise<unknown> {
    const closed = async () => close();
    const late = () => new Error(`not within ${withinMs / 1000} s`);
    return inTime(closed(), this.#clock, withinMs, late);
  }
}

/** A signal may come twice at once, as to a process group and again from npm: that is one signal. */
const ONE_SIGNAL_MS = 500;

/**
 * Runs what lasts until SIGINT, SIGTERM or SIGHUP, or until `work` is done or fails, or an error was
 * caught nowhere. Then closes what `work` has opened and ends the process, whatever else is open.
 * The exit status is not 0 if anything has failed. A second SIGINT or SIGTERM ends at once; a
 * terminal that closes may send any number of SIGHUPs.
 */
export async function runUntilStopped(work: (shutdown: Shutdown) => Promise<void>): Promise<never> {
  let status = 0;
  const fail = (problem: unknown) => {
    status = Math.max(status, printProblem(problem));
  };
  // A terminal or a reader that has gone is no reason to leave without closing.
  for (const output of [process.stdout, process.stderr]) output.on("error", () => undefined);
  const stopped = new Promise<void>((stop) => {
    process.on("uncaughtException", (error) => {
      printUncaught(error);
      status ||= 1;
      stop();
    });
    onSignals(["SIGINT", "SIGTERM", "SIGHUP"], (signal) => {
      notice(`${signal}: finishing what is live; a second signal ends at once`);
      stop();
    });
  });
  const shutdown = new Shutdown(fail);
  await Promise.race([work(shutdown).catch(fail), stopped]);
  await shutdown.close();
  return end(status);
}

/** Milliseconds that ending takes at most. */
const END_MS = 2000;

/**
 * `process.exit` waits for threads that are inside the kernel, which on a dead mount they never leave.
 * A process beside this one kills it then.
 */
function end(status: number): never {
  const hasParent = `process.ppid === ${process.pid}`;
  const script =
    `setInterval(() => ${hasParent} || process.exit(), 100);` +
    `setTimeout(() => ${hasParent} && process.kill(process.ppid, "SIGKILL"), ${END_MS});`;
  // In a session of its own, where the terminal's signals do not reach it.
  spawn(process.execPath, ["-e", script], { stdio: "ignore", detached: true }).unref();
  process.exit(status);
}

/**
 * Aborted by SIGINT or SIGTERM, for what has to tidy up before it ends; a second signal ends at once. A
 * terminal that closes ends it as any other command, or not at all under nohup.
 */
export function untilSignal(reason: string): AbortSignal {
  const stopped = new AbortController();
  onSignals(["SIGINT", "SIGTERM"], () => stopped.abort(new Error(reason)));
  return stopped.signal;
}

type StopSignal = "SIGINT" | "SIGTERM" | "SIGHUP";

function onSignals(signals: readonly StopSignal[], stop: (signal: StopSignal) => void): void {
  let signalledAt: number | undefined;
  for (const signal of signals) {
    process.on(signal, () => {
      if (signalledAt === undefined) {
        signalledAt = performance.now();
        stop(signal);
      } else if (signal !== "SIGHUP" && performance.now() - signalledAt > ONE_SIGNAL_MS) {
        end(128 + constants.signals[signal]);
      }
    });
  }
}
