import type { Command } from "cac";
import { type DestinationStream, type Logger, pino } from "pino";
import { PinoPretty } from "pino-pretty";
import { textOf, UsageError } from "./arguments.ts";
import { tellIn } from "./notice.ts";

/** From what says least to what says most. */
export const logLevels = ["silent", "fatal", "error", "warn", "info", "debug", "trace"];
export const logFormats = ["text", "json"] as const;
type LogFormat = (typeof logFormats)[number];

/** Adds the options of a process that serves, whose log is on stderr. */
export function withLog(command: Command): Command {
  return command
    .option("--log-level <level>", `What is logged on stderr: ${logLevels.join(", ")}`, {
      default: "warn",
    })
    .option("--log-format <format>", "text or json; by default text on a terminal, else json");
}

export interface Log {
  readonly log: Logger;
  /** Undefined where it was not asked for. */
  readonly format: LogFormat | undefined;
}

type Flags = Readonly<Record<string, unknown>>;

/** The log that was asked for; notices and problems go there too. @throws UsageError */
export function openLog(flags: Flags, isTerminal = process.stderr.isTTY): Log {
  const level = textOf("log-level", flags["logLevel"]);
  if (!logLevels.includes(level)) {
    throw new UsageError(`--log-level: expected ${logLevels.join(", ")}, got ${level}`);
  }
  const format = formatOf(flags["logFormat"]);
  const isText = format === "text" || (format === undefined && isTerminal);
  const log = pino({ level }, isText ? textOnStderr(isTerminal) : jsonOnStderr());
  tellIn(log);
  return { log, format };
}

function formatOf(value: unknown): LogFormat | undefined {
  if (value === undefined) return undefined;
  const given = textOf("log-format", value);
  const format = logFormats.find((each) => each === given);
  if (format) return format;
  throw new UsageError(`--log-format: expected ${logFormats.join(" or ")}, got ${given}`);
}

/** Bytes of lines that a reader has not taken; more are dropped, since nobody waits for it. */
const UNREAD_BYTES = 4 * 2 ** 20;

function jsonOnStderr(): DestinationStream {
  const stderr = pino.destination({ dest: 2, maxLength: UNREAD_BYTES });
  // Whoever read it may have gone.
  stderr.on("error", () => undefined);
  return stderr;
}

function textOnStderr(colorize: boolean): DestinationStream {
  return PinoPretty({
    ...{ destination: 2, sync: false, colorize, singleLine: true },
    ...{ ignore: "pid,hostname", translateTime: "SYS:HH:MM:ss.l" },
  });
}
