import type { Picodollars } from "../billing/index.ts";
import { ApiError } from "../errors.ts";
import type { NamedKey } from "./keys-file.ts";

const MINUTE_MS = 60_000;

/**
 * What may still be asked with a key. Tokens and dollars are known when a request has ended: one that
 * was let in may go beyond, and the next ones wait the longer.
 */
export class Allowance {
  readonly #key: NamedKey;
  readonly #now: () => number;
  #running = 0;
  /** Tokens that may be used now; below zero they are owed. */
  #tokens: number;
  #countedAt: number;
  /** Of the budget, since the period began. */
  #spent: Picodollars = 0n;
  #periodStart = -Infinity;

  /** `now`: milliseconds since 1970. */
  constructor(key: NamedKey, now: () => number) {
    this.#key = key;
    this.#now = now;
    this.#tokens = key.tokens_per_minute ?? 0;
    this.#countedAt = now();
  }

  /** @throws ApiError 429 that says when to come again. */
  assertRoom(): void {
    const { concurrency, tokens_per_minute: rate, budget } = this.#key;
    if (concurrency !== undefined && this.#running >= concurrency) {
      throw refusal("concurrency_limit", `${concurrency} requests at a time`, 1000);
    }
    if (rate !== undefined && this.#refilled(rate) <= 0) {
      const wait = ((1 - this.#tokens) / rate) * MINUTE_MS;
      throw refusal("rate_limit_exceeded", `${rate} tokens a minute`, wait);
    }
    if (budget !== undefined && this.#spentNow(budget.per) >= budget.dollars) {
      const wait = nextPeriod(budget.per, this.#now()) - this.#now();
      throw refusal("insufficient_quota", `its budget of the ${budget.per}`, wait);
    }
  }

  /** A request has been let in. */
  begin(): void {
    this.#running++;
  }

  /** And has ended. */
  end(tokens: number): void {
    this.#running--;
    const { tokens_per_minute: rate } = this.#key;
    if (rate !== undefined) this.#tokens = this.#refilled(rate) - tokens;
  }

  /** It has cost so much at that time, now or before the server was started. */
  spend(amount: Picodollars, time: number): void {
    const per = this.#key.budget?.per;
    if (per === undefined) return;
    if (time >= periodStart(per, this.#now())) this.#spent = this.#spentNow(per) + amount;
  }

  #refilled(rate: number): number {
    const now = this.#now();
    this.#tokens = Math.min(rate, this.#tokens + (rate * (now - this.#countedAt)) / MINUTE_MS);
    this.#countedAt = now;
    return this.#tokens;
  }

  #spentNow(per: Period): Picodollars {
    const start = periodStart(per, this.#now());
    if (start > this.#periodStart) this.#spent = 0n;
    this.#periodStart = start;
    return this.#spent;
  }
}

type Period = "day" | "month";

/** Days and months are UTC's. */
function periodStart(per: Period, now: number, later = 0): number {
  const date = new Date(now);
  const month = date.getUTCMonth();
  return per === "day"
    ? Date.UTC(date.getUTCFullYear(), month, date.getUTCDate() + later)
    : Date.UTC(date.getUTCFullYear(), month + later, 1);
}

const nextPeriod = (per: Period, now: number) => periodStart(per, now, 1);

function refusal(code: string, limit: string, waitMs: number): ApiError {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000));
  const message = `this key has used ${limit}; try again in ${seconds} s`;
  return new ApiError(429, code, message, { headers: { "retry-after": `${seconds}` } });
}
