import type { ChosenToken, TokenChoice } from "../../kernels/index.ts";
import type { ChosenTokens } from "../../model/index.ts";
import type { StepPart } from "./scheduler.ts";

/** A step's tokens, and how each was chosen. */
export interface Choices {
  readonly choices: readonly TokenChoice[];
  readonly chosen: ChosenTokens;
}

/** A token that a step has chosen for a sequence, after those before it. */
export interface StandingToken {
  readonly choice: ChosenToken;
  /** It was proposed. */
  readonly proposed: boolean;
  /** Proposals after it that were computed in vain. */
  readonly refuted: number;
  /** Whether another one follows it. */
  readonly goesOn: boolean;
}

/**
 * Tokens of a part whose first logit row is the step's row `first`. A proposal stands if it is what would
 * have been chosen; so does the token chosen after it, if it is known what may come there.
 */
export function* standingTokens(
  { sequence, logitRows, proposed }: StepPart,
  first: number,
  { choices, chosen }: Choices,
): Generator<StandingToken, void, undefined> {
  const isKnown = (i: number) => !sequence.isConstrained || choices[first + i].mask !== undefined;
  for (const i of logitRows.keys()) {
    const choice = chosen(first + i);
    const stands = choice.token === proposed[i];
    const goesOn = stands && isKnown(i + 1);
    const refuted = goesOn ? 0 : proposed.length - i - Number(stands);
    yield { choice, proposed: stands, refuted, goesOn };
    if (!goesOn) return;
  }
}
