import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import type { Clock } from "../../cluster/index.ts";
import { backOffMs } from "./back-off.ts";
import type { NodeProcessOptions } from "./node-process.ts";

const MOST_BACK_OFF_MS = 30_000;

/** Processes of this machine that join the cluster as other nodes: one that ends is replaced. */
export class ChildNodes {
  readonly #options: NodeProcessOptions;
  readonly #clock: Clock;
  /** With the number it has in the cluster, once it has joined. */
  readonly #children = new Map<ChildProcess, number | undefined>();
  /** Processes that have ended since the last joined. */
  #failures = 0;
  /** Call off the starts that are to come. */
  readonly #waiting = new Set<() => void>();
  #closed = false;

  constructor(options: NodeProcessOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  /** `ended` hears of each that ends before it is closed. */
  start(count: number, ended: () => void): void {
    for (let child = 0; child < count; child++) this.#start(ended);
  }

  /** A node that the cluster has given up, but which may only be stopped, is replaced too. */
  lost(node: number): void {
    for (const [child, joined] of this.#children) if (joined === node) child.kill("SIGKILL");
  }

  /** They end by themselves, as they are told by the cluster; what does not is killed. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const cancel of this.#waiting) cancel();
    await Promise.all([...this.#children.keys()].map(endProcess));
  }

  #start(ended: () => void): void {
    if (this.#closed) return;
    const child = fork(new URL("./node-process.js", import.meta.url), { stdio: "inherit" });
    this.#children.set(child, undefined);
    // A child that ended early takes no message; its exit is what is heard of it.
    child.send(this.#options, () => undefined);
    child.on("message", (node: number) => {
      this.#failures = 0;
      this.#children.set(child, node);
    });
    const over = () => {
      if (!this.#children.delete(child) || this.#closed) return;
      ended();
      const cancel = this.#clock.after(backOffMs(++this.#failures, MOST_BACK_OFF_MS), () => {
        this.#waiting.delete(cancel);
        this.#start(ended);
      });
      this.#waiting.add(cancel);
    };
    for (const event of ["exit", "error"]) child.once(event, over);
  }
}

/** It ends by itself once told; killed if it does not within a second. */
async function endProcess(child: ChildProcess): Promise<void> {
  if (!child.pid || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  const late = setTimeout(() => child.kill("SIGKILL"), 1000);
  await ended;
  clearTimeout(late);
}
