import { Worker } from "node:worker_threads";

/** Ends this process when the gateway was killed while something was at work that never ends. */
const WATCHDOG = `const { workerData: gateway } = require("node:worker_threads");
setInterval(() => process.ppid === gateway || process.kill(process.pid, "SIGKILL"), 500);`;

/**
 * The gateway, a process of this number, ends this one; signals to the whole group are meant for the
 * gateway. It tells its number: it may be gone before this process can ask whose child it is.
 */
export function liveAsLongAs(gateway: number): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => {});
  process.on("disconnect", () => process.exit());
  new Worker(WATCHDOG, { eval: true, workerData: gateway }).unref();
}
