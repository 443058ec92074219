import {
  answerEstimate,
  chooseDecodeRank,
  choosePrefillRank,
  firstAnswerEstimate,
  prefillLoad,
  type PrefillCosts,
  type PrefillLoad,
} from "../../balancing/index.ts";
import type { Topology } from "../../cluster/index.ts";
import { PAGE_TOKENS } from "../../kernels/index.ts";
import type { AskedRequest, GenerationEvent } from "../messages.ts";
import { DecodingRank } from "./decoding-rank.ts";
import { PrefixGuess, reusableBlocks } from "./prefix-guess.ts";

/** The ranks that compute a request. */
export interface Route {
  /** Computes the prompt, and the rest too where no other rank does. */
  readonly rank: number;
  readonly decodeRank?: number;
  /** What a rank tells of the request, in the order in which it is heard. */
  readonly hear: (kind: GenerationEvent["kind"], from: number) => void;
  /** The request no longer weighs on any rank; may be called again. */
  readonly release: () => void;
}

export interface RouterOptions {
  readonly topology: Topology;
  readonly costs: PrefillCosts;
  /** Pages of each rank's pool. */
  readonly pages: number;
  /** Rows of a step, and so requests that a rank can decode together. */
  readonly stepRows: number;
}

interface PrefillRank {
  readonly rank: number;
  readonly prefixes: PrefixGuess;
  load: PrefillLoad;
}

/** Gives requests to ranks: the prefill and decode load balancers, live. */
export class Router {
  readonly #costs: PrefillCosts;
  #prefill: PrefillRank[] = [];
  #decode: DecodingRank[] = [];
  readonly #decodes: boolean;
  /** Tokens that an answer is expected to have. */
  #answerTokens = firstAnswerEstimate;

  constructor({ topology, costs, pages, stepRows }: RouterOptions) {
    this.#costs = costs;
    this.#decodes = topology.units.some(({ role }) => role === "decode");
    const room = { kvCapacity: pages * PAGE_TOKENS, requestCapacity: stepRows };
    for (const { role, ranks } of topology.units) {
      for (const rank of ranks) {
        if (role === "decode") this.#decode.push(new DecodingRank(rank, room));
        else {
          const load = { tokens: 0, attentionPairs: 0 };
          this.#prefill.push({ rank, prefixes: new PrefixGuess(pages), load });
        }
      }
    }
  }

  /** Whether there are ranks left for every phase. */
  get serves(): boolean {
    return this.#prefill.length > 0 && (this.#decode.length > 0 || !this.#decodes);
  }

  /** Sends nothing more to a rank. */
  lose(lost: number): void {
    this.#prefill = this.#prefill.filter(({ rank }) => rank !== lost);
    this.#decode = this.#decode.filter(({ rank }) => rank !== lost);
  }

  /** A rank's pages in use, after all that was heard of it so far. */
  report(rank: number, pagesInUse: number): void {
    this.#decode.find((each) => each.rank === rank)?.report(pagesInUse * PAGE_TOKENS);
  }

  /** Only while it `serves`. */
  route(request: AskedRequest): Route {
    const { rank, release: prefilled } = this.#takePrefill(request);
    const decode = this.#decodes ? this.#takeDecode(request) : undefined;
    let answerTokens = 0;
    return {
      rank,
      ...(decode && { decodeRank: decode.rank }),
      hear: (kind, from) => {
        if (kind === "finished") {
          this.#answerTokens = answerEstimate(this.#answerTokens, answerTokens);
        }
        if (kind !== "token") return;
        prefilled();
        answerTokens++;
        if (from === decode?.rank) decode.grow(request.prompt.length + answerTokens);
      },
      release: () => {
        prefilled();
        decode?.release();
      },
    };
  }

  #takePrefill(request: AskedRequest) {
    // An empty prompt is for the rank to refuse.
    const promptTokens = Math.max(1, request.prompt.length);
    const keys = reusableBlocks(request);
    const cachedTokens = this.#prefill.map(({ prefixes }) => prefixes.cachedTokens(keys));
    const loads = this.#prefill.map(({ load }) => load);
    const index = choosePrefillRank({ promptTokens, cachedTokens }, loads, this.#costs);
    const chosen = this.#prefill[index];
    chosen.prefixes.remember(keys);
    const { tokens, attentionPairs } = prefillLoad(promptTokens, cachedTokens[index]);
    const weigh = (sign: 1 | -1) => {
      chosen.load = {
        tokens: chosen.load.tokens + sign * tokens,
        attentionPairs: chosen.load.attentionPairs + sign * attentionPairs,
      };
    };
    weigh(1);
    return { rank: chosen.rank, release: once(() => weigh(-1)) };
  }

  /** Where no rank has room the request waits on the one that would be chosen with more. */
  #takeDecode({ prompt, maxTokens }: AskedRequest) {
    const kvTokens = prompt.length + Math.min(maxTokens, this.#answerTokens);
    const loads = this.#decode.map(({ load }) => load);
    const unlimited = { kvCapacity: Infinity, requestCapacity: Infinity };
    const roomy = loads.map((load) => ({ ...load, ...unlimited }));
    const index = chooseDecodeRank(kvTokens, loads) ?? chooseDecodeRank(kvTokens, roomy);
    const chosen = this.#decode[index as number];
    const { grow, leave } = chosen.take(kvTokens);
    return { rank: chosen.rank, grow, release: once(leave) };
  }
}

function once(act: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    act();
  };
}
