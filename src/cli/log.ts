import type { Command } from "cac";
import { type DestinationStream, type Logger, pino } from "pino";
import { PinoPretty } from "pino-pretty";
import { oneOf } from "./arguments.ts";
import { tellIn } from "./notice.ts";

/** From what says least to what says most. */
const logLevels = ["silent", "fatal", "error", "warn", "info", "debug", "trace"];
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
  const level = oneOf("log-level", flags["logLevel"], logLevels);
  const { logFormat } = flags;
  const format = logFormat === undefined ? undefined : oneOf("log-format", logFormat, logFormats);
  const isText = format === "text" || (format === undefined && isTerminal);
  const log = pino({ level }, isText ? textOnStderr(isTerminal) : jsonOnStderr());
  tellIn(log);
  return { log, format };
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
