import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { MaskReports, MaskStart, MaskTask } from "./mask-messages.ts";

/** Where constraints are followed. Ending it is the only way to stop a task. */
export interface MaskChild {
  post(tasks: readonly MaskTask[]): void;
  /** An idle child is no reason for the process to live on. */
  hold(held: boolean): void;
  /** The listener hears no more of it. */
  kill(): void;
}

export interface MaskListener {
  report(reports: MaskReports): void;
  /** The process is gone by itself; the message says why. */
  ended(message: string): void;
}

export type CreateMaskChild = (start: MaskStart, listener: MaskListener) => MaskChild;

/** Grammars are bounded by what they may cost; this is for all that are in use. */
const HEAP_MB = 1024;

export const forkMaskChild: CreateMaskChild = (start, listener) => {
  const program = fileURLToPath(new URL("./mask-process.js", import.meta.url));
  const child = fork(program, [`${process.pid}`], {
    serialization: "advanced",
    execArgv: [`--max-old-space-size=${HEAP_MB}`],
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  let silent = false;
  const ended = (message: string) => {
    if (!silent) listener.ended(message);
    silent = true;
  };
  child.on("message", (reports: MaskReports) => {
    if (!silent) listener.report(reports);
  });
  child.on("error", (error) => ended(`failed: ${error.message}`));
  child.on("exit", (code, signal) => ended(`ended its process (${signal ?? code})`));
  child.send(start);
  return {
    post: (tasks) => void child.send(tasks),
    hold(held) {
      if (held) {
        child.ref();
        child.channel?.ref();
      } else {
        child.unref();
        child.channel?.unref();
      }
    },
    kill() {
      silent = true;
      child.kill("SIGKILL");
    },
  };
};
