import { setTimeout as sleep } from "node:timers/promises";
import type { LoadRequest } from "./load-requests.ts";
import { percentile } from "../percentiles.ts";
import type { Server } from "../../gateway/index.ts";
import { streamedAnswer, type Answer } from "./streamed-answer.ts";

export interface LoadOptions extends Server {
  readonly model: string;
  readonly requests: readonly LoadRequest[];
  /** Requests under way at once; those with a time of their own are sent at it all the same. */
  readonly concurrency: number;
}

export interface Percentiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

export interface LoadReport {
  readonly requests: number;
  readonly answered: number;
  /** What failed requests were told, and how often. */
  readonly errors: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly requestsPerSecond: number;
  /** As the server counts them. */
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly completionTokensPerSecond: number;
  /** Milliseconds; null where no request tells. */
  readonly timeToFirstToken: Percentiles | null;
  /** Between the first token and the last, for each later one. */
  readonly timePerOutputToken: Percentiles | null;
  readonly wholeAnswer: Percentiles | null;
}

/** Sends requests to a server, and tells how long their answers took. */
export async function runLoad(options: LoadOptions): Promise<LoadReport> {
  const { requests, concurrency } = options;
  const answers: Answer[] = [];
  const errors: Record<string, number> = {};
  const began = performance.now();
  const send = async (request: LoadRequest) => {
    try {
      answers.push(await streamedAnswer(options, { ...request, model: options.model }));
    } catch (error) {
      const { message, cause } = error as Error;
      const reason = cause instanceof Error ? `${message}: ${cause.message}` : message;
      errors[reason] = (errors[reason] ?? 0) + 1;
    }
  };
  const timed = requests.flatMap((request) => (request.at === undefined ? [] : [request]));
  const waiting = requests.filter((request) => request.at === undefined);
  const sendInTurn = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) await send(next);
  };
  await Promise.all([
    ...timed.map(async (request) => {
      await sleep((request.at ?? 0) - (performance.now() - began));
      await send(request);
    }),
    ...Array.from({ length: Math.min(concurrency, waiting.length) }, sendInTurn),
  ]);
  return reportOf(requests.length, answers, errors, (performance.now() - began) / 1000);
}

export function reportOf(
  requests: number,
  answers: readonly Answer[],
  errors: Readonly<Record<string, number>>,
  seconds: number,
): LoadReport {
  const sum = (of: (answer: Answer) => number) =>
    answers.reduce((total, answer) => total + of(answer), 0);
  const completionTokens = sum((answer) => answer.completionTokens);
  return {
    ...{ requests, answered: answers.length, errors, seconds },
    requestsPerSecond: answers.length / seconds,
    promptTokens: sum((answer) => answer.promptTokens),
    completionTokens,
    completionTokensPerSecond: completionTokens / seconds,
    timeToFirstToken: percentilesOf(answers.map(({ firstMs }) => firstMs)),
    timePerOutputToken: percentilesOf(
      answers.flatMap(({ completionTokens: tokens, firstMs, lastMs }) =>
        tokens > 1 ? [(lastMs - firstMs) / (tokens - 1)] : [],
      ),
    ),
    wholeAnswer: percentilesOf(answers.map(({ lastMs }) => lastMs)),
  };
}

function percentilesOf(values: readonly number[]): Percentiles | null {
  if (values.length === 0) return null;
  const [p50, p90, p99] = [0.5, 0.9, 0.99].map((share) => percentile(values, share));
  return { p50, p90, p99 };
}
