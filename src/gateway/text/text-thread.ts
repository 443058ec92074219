import { Worker } from "node:worker_threads";
import type { TextReport, TextTask } from "./messages.ts";

/** Where tasks are performed. Ending it is the only way to stop a task. */
export interface TextThread {
  post(task: TextTask): void;
  /** Resolves when nothing of it runs any more; its `ended` is not called. */
  terminate(): Promise<unknown>;
}

export interface TextThreadListener {
  report(report: TextReport): void;
  /** The thread is gone by itself; the message says why. */
  ended(message: string): void;
}

export type CreateTextThread = (listener: TextThreadListener) => TextThread;

/** Heap of the worker: the largest tokenizers take a fifth, the rest is for one request's text. */
const HEAP_MB = 1024;

/** A thread on the tokenizer and the chat template of this folder. */
export function textThreadOn(directory: string): CreateTextThread {
  return (listener) => {
    const worker = new Worker(new URL("./worker.js", import.meta.url), {
      workerData: directory,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
    });
    let terminated = false;
    const ended = (message: string) => {
      if (terminated) return;
      terminated = true;
      listener.ended(message);
    };
    worker.on("message", (report: TextReport) => {
      // An idle thread is no reason for the process to live on.
      if (report.kind !== "trying") worker.unref();
      if (!terminated) listener.report(report);
    });
    worker.on("error", (error: NodeJS.ErrnoException) => {
      const outOfMemory = error.code === "ERR_WORKER_OUT_OF_MEMORY";
      ended(outOfMemory ? `needed more than ${HEAP_MB} MiB` : `failed: ${error.message}`);
    });
    worker.on("exit", () => ended("ended its thread"));
    return {
      post: (task) => {
        worker.ref();
        worker.postMessage(task);
      },
      terminate: () => {
        terminated = true;
        return worker.terminate();
      },
    };
  };
}
