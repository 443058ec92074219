import type { RequestRecord } from "./ledger-record.ts";
import { totalOf, type Picodollars } from "./money.ts";

/** What one model's requests add up to, by the name that was asked for. */
export interface ModelSums {
  readonly model: string;
  readonly requests: number;
  readonly inputTokens: number;
  readonly hitTokens: number;
  readonly outputTokens: number;
  readonly theoreticalIncome: Picodollars;
  readonly billedIncome: Picodollars;
}

const nothing = {
  ...{ requests: 0, inputTokens: 0, hitTokens: 0, outputTokens: 0 },
  ...{ theoreticalIncome: 0n, billedIncome: 0n },
};

/** The sums of a model with one request more. @param theoretical what that would bring */
export function withRequest(
  sums: ModelSums | undefined,
  { model, tokens, billing }: RequestRecord,
  theoretical: Picodollars,
): ModelSums {
  const before = sums ?? { ...nothing, model };
  const billed = billing.kind === "billed" ? totalOf(billing.picodollars) : 0n;
  return {
    model,
    requests: before.requests + 1,
    inputTokens: before.inputTokens + tokens.hit + tokens.miss,
    hitTokens: before.hitTokens + tokens.hit,
    outputTokens: before.outputTokens + tokens.output,
    theoreticalIncome: before.theoreticalIncome + theoretical,
    billedIncome: before.billedIncome + billed,
  };
}
