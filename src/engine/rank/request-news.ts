import { PAGE_TOKENS } from "../../kernels/index.ts";
import type { FinishReason, GenerationEvent, HandledEvent } from "../messages.ts";
import type { Sequence } from "./sequence.ts";
import type { StandingToken } from "./standing-tokens.ts";

/** What requests are to be told after a step, and counts of what they were told. */
export class RequestNews {
  readonly #events: HandledEvent[] = [];
  readonly counts = {
    ...{ promptTokens: 0, hitTokens: 0 },
    ...{ generatedTokens: 0, proposedTokens: 0, acceptedTokens: 0 },
  };

  get isEmpty(): boolean {
    return this.#events.length === 0;
  }

  /** Once. */
  take(): readonly HandledEvent[] {
    return this.#events.splice(0);
  }

  /** Computation begins, if it has not; so much of the prompt the cache has answered. */
  started(sequence: Sequence): void {
    if (sequence.started) return;
    sequence.started = true;
    this.counts.promptTokens += sequence.givenLength;
    const hitTokens = sequence.published * PAGE_TOKENS;
    this.counts.hitTokens += hitTokens;
    this.#tell(sequence.handle, { kind: "started", hitTokens });
  }

  /** So many tokens were computed in case they come. */
  proposed(tokens: number): void {
    this.counts.proposedTokens += tokens;
  }

  token(handle: number, { choice, proposed, refuted }: StandingToken): void {
    const { token, top, logprob } = choice;
    this.counts.generatedTokens++;
    if (proposed) this.counts.acceptedTokens++;
    const reported = logprob === undefined ? {} : { logprob };
    this.#tell(handle, { kind: "token", token, top, proposed, refuted, ...reported });
  }

  finished(handle: number, reason: FinishReason): void {
    this.#tell(handle, { kind: "finished", reason });
  }

  failed(handle: number, code: string, message: string): void {
    this.#tell(handle, { kind: "failed", code, message });
  }

  #tell(handle: number, event: GenerationEvent): void {
    this.#events.push({ handle, event });
  }
}
