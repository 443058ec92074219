import type { BilledTokens } from "./money.ts";
import type { Usage } from "../wire.ts";

/** Something that can say what it would be billed for now. */
interface Billed {
  usage(): Usage;
}

/** Counts tokens of all requests while they come; what has ended counts as it was billed. */
export class TokenTally {
  readonly #live = new Set<Billed>();
  readonly #ended = { hit: 0, miss: 0, output: 0 };

  begin(request: Billed): void {
    this.#live.add(request);
  }

  end(request: Billed, usage: Usage): void {
    this.#live.delete(request);
    add(this.#ended, usage);
  }

  read(): BilledTokens {
    const sum = { ...this.#ended };
    for (const request of this.#live) add(sum, request.usage());
    return sum;
  }
}

function add(sum: { hit: number; miss: number; output: number }, usage: Usage): void {
  sum.hit += usage.prompt_cache_hit_tokens;
  sum.miss += usage.prompt_cache_miss_tokens;
  sum.output += usage.completion_tokens;
}
