import { Worker } from "node:worker_threads";

/** Ends this process when the gateway was killed while something was at work that never ends. */
const WATCHDOG = `const gateway = process.ppid;
setInterval(() => process.ppid === gateway || process.kill(process.pid, "SIGKILL"), 500);`;

/** The gateway ends this process; signals to the whole group are meant for the gateway. */
export function liveAsLongAsTheGateway(): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => {});
  process.on("disconnect", () => process.exit());
  new Worker(WATCHDOG, { eval: true }).unref();
}
