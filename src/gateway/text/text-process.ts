import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { TextReport, TextTask } from "./messages.ts";

/** Where tasks are performed. Ending it is the only way to stop a task. */
export interface TextProcess {
  post(task: TextTask): void;
  /** Resolves when nothing of it runs any more; the listener's `ended` is not called. */
  terminate(): Promise<unknown>;
}

export interface TextProcessListener {
  report(report: TextReport): void;
  /** The process is gone by itself; the message says why. */
  ended(message: string): void;
}

export type CreateTextProcess = (listener: TextProcessListener) => TextProcess;

/** The largest tokenizers take a quarter; the rest is for one request's text. */
const HEAP_MB = 512;

/** How Node ends a process whose heap is full, or that asks for an array beyond all bounds. */
const outOfMemory: readonly unknown[] = ["SIGABRT", "SIGTRAP", "SIGILL"];

/**
 * A process on the tokenizer and the chat template of this folder, or the template in a file. A thread would share the gateway's
 * fate: Node ends the whole process when a worker thread's heap is full.
 */
export function textProcessOn(directory: string, chatTemplate?: string): CreateTextProcess {
  const args = [`${process.pid}`, directory, ...(chatTemplate === undefined ? [] : [chatTemplate])];
  return (listener) => {
    const child = fork(fileURLToPath(new URL("./worker.js", import.meta.url)), args, {
      serialization: "advanced",
      execArgv: [`--max-old-space-size=${HEAP_MB}`],
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    const gone = once(child, "exit").catch(() => {});
    let silent = false;
    const ended = (message: string) => {
      if (!silent) listener.ended(message);
      silent = true;
    };
    child.on("message", (report: TextReport) => {
      // An idle child is no reason for the process to live on.
      if (report.kind !== "trying") {
        child.unref();
        child.channel?.unref();
      }
      if (!silent) listener.report(report);
    });
    child.on("error", (error) => ended(`failed: ${error.message}`));
    child.on("exit", (code, signal) =>
      ended(
        outOfMemory.includes(signal)
          ? `needed more than ${HEAP_MB} MiB`
          : `ended its process (${signal ?? code})`,
      ),
    );
    return {
      post: (task) => {
        child.ref();
        child.channel?.ref();
        child.send(task);
      },
      terminate: () => {
        silent = true;
        child.ref();
        child.kill("SIGKILL");
        return gone;
      },
    };
  };
}
