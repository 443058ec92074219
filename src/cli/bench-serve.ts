import type { Command } from "cac";
import {
  readMooncakeTrace,
  runLoad,
  traceLoad,
  uniformLoad,
  type LoadReport,
  type LoadRequest,
} from "../bench/index.ts";
import { firstModel } from "../gateway/index.ts";
import { integerOf, textOf, UsageError } from "./arguments.ts";
import { serverOf } from "./server.ts";
import { table } from "./table.ts";

const defaults = { concurrency: 8, requests: 32, promptTokens: 256, maxTokens: 64 };

export function withBenchServe(command: Command): Command {
  return command
    .option("--url <url>", "Any server with OpenAI's API", { default: "http://127.0.0.1:8000" })
    .option("--api-key <key>", "Key of the server")
    .option("--model <name>", "Served name; the first one where none is given")
    .option(
      "--concurrency <count>",
      `Requests under way at once (default: ${defaults.concurrency})`,
    )
    .option(
      "--requests <count>",
      `Requests, or the first of a trace (default: ${defaults.requests})`,
    )
    .option("--prompt-tokens <count>", `Words of a prompt (default: ${defaults.promptTokens})`)
    .option("--max-tokens <count>", `Tokens of an answer (default: ${defaults.maxTokens})`)
    .option("--trace <file>", "Send a Mooncake trace's requests at its times; counts are its most")
    .option("--json", "Print JSON");
}

/** `daysix bench serve`: how long a server's answers take under load. */
export async function runBenchServe(flags: Readonly<Record<string, unknown>>): Promise<void> {
  const server = await serverOf(flags);
  const requests = await requestsOf(flags);
  const model =
    flags["model"] === undefined
      ? await firstModel(server).catch((error: Error) => {
          throw new UsageError(`--url: ${error.message}`);
        })
      : textOf("model", flags["model"]);
  const concurrency = countOf(flags, "concurrency") ?? defaults.concurrency;
  const report = await runLoad({ ...server, model, requests, concurrency });
  if (flags["json"] === true) console.log(JSON.stringify({ model, concurrency, ...report }));
  else printReport(model, report);
  if (report.answered === 0) process.exitCode = 1;
}

async function requestsOf(flags: Readonly<Record<string, unknown>>): Promise<LoadRequest[]> {
  const requests = countOf(flags, "requests");
  const promptTokens = countOf(flags, "promptTokens");
  const maxTokens = countOf(flags, "maxTokens");
  if (flags["trace"] === undefined) {
    return uniformLoad({
      requests: requests ?? defaults.requests,
      promptTokens: promptTokens ?? defaults.promptTokens,
      maxTokens: maxTokens ?? defaults.maxTokens,
    });
  }
  if (flags["concurrency"] !== undefined) {
    throw new UsageError("--concurrency: a trace's times say when requests are sent");
  }
  const trace = await readMooncakeTrace(textOf("trace", flags["trace"])).catch((error: Error) => {
    throw new UsageError(`--trace: ${error.message}`);
  });
  return traceLoad(trace.slice(0, requests), {
    ...(promptTokens !== undefined && { promptTokens }),
    ...(maxTokens !== undefined && { maxTokens }),
  });
}

const options = {
  concurrency: "concurrency",
  requests: "requests",
  promptTokens: "prompt-tokens",
  maxTokens: "max-tokens",
} as const;

function countOf(
  flags: Readonly<Record<string, unknown>>,
  flag: keyof typeof options,
): number | undefined {
  if (flags[flag] === undefined) return undefined;
  return integerOf(options[flag], flags[flag], 1, 2 ** 31 - 1);
}

function printReport(model: string, report: LoadReport): void {
  const { requests, answered, errors, seconds } = report;
  console.log(
    `${model}: ${answered} of ${requests} requests in ${seconds.toFixed(1)} s, ` +
      `${report.promptTokens} prompt tokens, ${report.completionTokens} answered, ` +
      `${report.completionTokensPerSecond.toFixed(1)} tokens/s`,
  );
  const rows = (
    [
      ["time to first token", report.timeToFirstToken],
      ["time per output token", report.timePerOutputToken],
      ["whole answer", report.wholeAnswer],
    ] as const
  ).map(([name, times]) => [
    name,
    ...[times?.p50, times?.p90, times?.p99].map((time) => time?.toFixed(2) ?? "-"),
  ]);
  console.log(table([["ms", "p50", "p90", "p99"], ...rows]));
  for (const [message, count] of Object.entries(errors)) console.log(`${count} failed: ${message}`);
}
