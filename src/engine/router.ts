import type { Topology } from "../cluster/index.ts";
import type { GenerationRequest } from "./messages.ts";

/** The ranks that compute a request. */
export interface Route {
  /** Computes the prompt, and the rest too where no other rank does. */
  readonly rank: number;
  readonly decodeRank?: number;
  /** The request no longer weighs on its ranks; may be called again. */
  readonly release: () => void;
}

interface RankLoad {
  readonly rank: number;
  tokens: number;
}

/** Sends requests where least is outstanding: the live face of the load balancers. */
export class Router {
  readonly #first: RankLoad[] = [];
  readonly #decode: RankLoad[] = [];

  constructor({ units }: Topology) {
    for (const { role, ranks } of units) {
      const loads = role === "decode" ? this.#decode : this.#first;
      loads.push(...ranks.map((rank) => ({ rank, tokens: 0 })));
    }
  }

  route(request: GenerationRequest): Route {
    const prompt = request.prompt.length;
    const first = take(this.#first, prompt);
    if (this.#decode.length === 0) return { rank: first.rank, release: first.release };
    const decode = take(this.#decode, prompt + request.maxTokens);
    return {
      rank: first.rank,
      decodeRank: decode.rank,
      release: () => {
        first.release();
        decode.release();
      },
    };
  }
}

/** The least loaded rank, the lower one of equals; its load grows until released. */
function take(loads: readonly RankLoad[], tokens: number): Route {
  const least = loads.reduce((best, load) => (load.tokens < best.tokens ? load : best));
  least.tokens += tokens;
  let held = true;
  return {
    rank: least.rank,
    release: () => {
      if (held) least.tokens -= tokens;
      held = false;
    },
  };
}
