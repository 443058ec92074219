import type { Logger } from "pino";

/** Of a process that serves: what else it says goes there too, so that all of it has one form. */
let log: Logger | undefined;

/** From now on notices and problems are told in this log, whatever its level, unless it is silent. */
export function tellIn(logger: Logger): void {
  log = logger.level === "silent" ? logger : logger.child({}, { level: "info" });
}

/** Says on stderr what is good to know and no answer. */
export function notice(text: string): void {
  if (log) log.info(text);
  else console.error(`daysix: ${text}`);
}

/**
 * Says in one line, without a stack, what a user can mend; returns the exit status for it. What is wrong
 * with a command line is said to whoever typed it, not to a log.
 */
export function printProblem(problem: unknown): number {
  const error = problem instanceof Error ? problem : new Error(String(problem));
  const isUsage = error.name === "UsageError" || error.name === "CACError";
  if (log && !isUsage) log.error(error.message);
  else console.error(`daysix: ${error.message}`);
  if (process.env["DEBUG"]) console.error(problem);
  return isUsage ? 2 : 1;
}

/** Says what nobody has caught, with its stack. */
export function printUncaught(error: unknown): void {
  if (log) log.error(error);
  else console.error(error);
}
