import {
  answerEstimate,
  chooseBlockReader,
  chooseDecodeRank,
  choosePrefillRank,
  firstAnswerEstimate,
  prefillLoad,
  type PrefillCosts,
} from "../../balancing/index.ts";
import type { Topology, Unit } from "../../cluster/index.ts";
import { PAGE_TOKENS } from "../../kernels/index.ts";
import type { AskedRequest, GenerationEvent } from "../messages.ts";
import { reusableBlocks } from "./prefix-guess.ts";
import { ServingRank } from "./serving-rank.ts";

/** The ranks that compute a request. */
export interface Route {
  /** Computes the prompt, and the rest too where no other rank does. */
  readonly rank: number;
  readonly decodeRank?: number;
  /** The decode rank reads the prompt's blocks from the context cache, and lends them to the other. */
  readonly borrows?: true;
  /** What a rank tells of the request, in the order in which it is heard. */
  readonly hear: (kind: GenerationEvent["kind"], from: number) => void;
  /** The request no longer weighs on any rank; may be called again. */
  readonly release: () => void;
}

/** A rank that is kept for one request. */
export interface Aside {
  readonly rank: number;
  /** Undefined while the rank still has other requests. */
  readonly route: (request: AskedRequest) => Route | undefined;
  /** The rank is given requests again. */
  readonly release: () => void;
}

/** `balanced`: by what ranks have to do; `turns`: one after the other, to compare with. */
export type Routing = "balanced" | "turns";

/** Who reads blocks from the context cache: who has them sooner at the prefill rank, or one kind of rank always. */
export type BlockReading = "sooner" | "prefill" | "decode";

export interface RouterOptions {
  readonly routing?: Routing | undefined;
  /** By default ranks that compute prompts. */
  readonly reading?: BlockReading | undefined;
  readonly topology: Topology;
  readonly costs: PrefillCosts;
  /** Pages of each rank's pool. */
  readonly pages: number;
  /** Rows of a step, and so requests that a rank can decode together. */
  readonly stepRows: number;
}

const none: ReadonlySet<number> = new Set();

/** Gives requests to ranks: the prefill and decode load balancers, live. */
export class Router {
  readonly #costs: PrefillCosts;
  readonly #pages: number;
  readonly #stepRows: number;
  readonly #takesTurns: boolean;
  readonly #reading: BlockReading;
  /** Requests given so far. */
  #given = 0;
  #ranks: ServingRank[] = [];
  /** Tokens that an answer is expected to have. */
  #answerTokens = firstAnswerEstimate;

  constructor({ topology, costs, pages, stepRows, routing, reading }: RouterOptions) {
    this.#takesTurns = routing === "turns";
    this.#reading = reading ?? "prefill";
    this.#costs = costs;
    this.#pages = pages;
    this.#stepRows = stepRows;
    for (const unit of topology.units) this.add(unit);
  }

  /** A unit is to be given requests. */
  add({ role, ranks }: Unit): void {
    const room = { kvCapacity: this.#pages * PAGE_TOKENS, requestCapacity: this.#stepRows };
    for (const rank of ranks) this.#ranks.push(new ServingRank(rank, role, this.#pages, room));
  }

  /** Ranks are given nothing more; they go on with what they have. */
  drain(ranks: readonly number[]): void {
    for (const each of this.#ranks) if (ranks.includes(each.rank)) each.isDraining = true;
  }

  /** Whether some rank takes requests, or will when another request has left it. */
  get serves(): boolean {
    return this.#ranks.some(({ isDraining }) => !isDraining);
  }

  /** Sends nothing more to a rank. */
  lose(lost: number): void {
    this.#ranks = this.#ranks.filter(({ rank }) => rank !== lost);
  }

  /** A rank's pages in use, after all that was heard of it so far, and what a block takes it. */
  report(rank: number, pagesInUse: number, blockMicros: Micros = {}): void {
    const found = this.#ranks.find((each) => each.rank === rank);
    if (!found) return;
    found.decoding.report(pagesInUse * PAGE_TOKENS);
    const { read, lent } = blockMicros;
    if (read !== undefined) found.reading = { ...found.reading, msPerBlock: read / 1000 };
    if (lent !== undefined) found.lendMs = lent / 1000;
  }

  /**
   * Prompts go to prefill ranks and answers to decode ranks; where one kind is missing the other does
   * both. Ranks to avoid are taken if there are no others. Undefined while every rank is set aside.
   */
  route(request: AskedRequest, avoid = none): Route | undefined {
    const ranks = this.#open(avoid);
    if (ranks.length === 0) return undefined;
    this.#given++;
    const decode = ranks.filter(({ role }) => role === "decode");
    const others = ranks.filter(({ role }) => role !== "decode");
    const computing = this.#takePrefill(request, others.length > 0 ? others : decode);
    return this.#join(request, computing, others.length > 0 ? decode : []);
  }

  /** Keeps the rank with the fewest requests for one that is to be alone, unless all are kept. */
  setAside(avoid = none): Aside | undefined {
    const [first, ...others] = this.#open(avoid);
    if (!first) return undefined;
    const kept = others.reduce(
      (least, each) => (each.requests < least.requests ? each : least),
      first,
    );
    kept.isSetAside = true;
    return {
      rank: kept.rank,
      route: (request) =>
        kept.requests > 0 ? undefined : this.#join(request, this.#takePrefill(request, [kept]), []),
      release: () => (kept.isSetAside = false),
    };
  }

  /** Ranks that take requests, without those to avoid where others are left. */
  #open(avoid: ReadonlySet<number>): ServingRank[] {
    const open = this.#ranks.filter(({ isSetAside, isDraining }) => !isSetAside && !isDraining);
    const liked = open.filter(({ rank }) => !avoid.has(rank));
    return liked.length > 0 ? liked : open;
  }

  /** The way of a request over a rank that computes its prompt and one of those that may go on. */
  #join(request: AskedRequest, computing: Computing, decode: readonly ServingRank[]): Route {
    const { chosen, prefilled, blocks } = computing;
    const handsOver = decode.length > 0;
    const decodes = handsOver || chosen.role === "decode";
    const goesOn = decodes ? this.#takeDecode(request, handsOver ? decode : [chosen]) : undefined;
    const reader = this.#readerOf(blocks, chosen, handsOver ? goesOn?.chosen : undefined);
    reader.expectReads(blocks);
    const hasRead = once(() => reader.expectReads(-blocks));
    const held = new Set([chosen, ...(goesOn ? [goesOn.chosen] : [])]);
    for (const rank of held) rank.requests++;
    const leave = once(() => {
      for (const rank of held) rank.requests--;
    });
    let answerTokens = request.generated ?? 0;
    return {
      rank: chosen.rank,
      ...(goesOn && handsOver && { decodeRank: goesOn.chosen.rank }),
      ...(reader !== chosen && { borrows: true }),
      hear: (kind, from) => {
        hasRead();
        if (kind === "finished") {
          this.#answerTokens = answerEstimate(this.#answerTokens, answerTokens);
        }
        if (kind !== "token") return;
        prefilled();
        answerTokens++;
        if (from === goesOn?.chosen.rank) {
          goesOn.grow(request.prompt.length + answerTokens - (request.generated ?? 0));
        }
      },
      release: () => {
        hasRead();
        prefilled();
        goesOn?.release();
        leave();
      },
    };
  }

  #takePrefill(request: AskedRequest, ranks: readonly ServingRank[]): Computing {
    // An empty prompt is for the rank to refuse.
    const promptTokens = Math.max(1, request.prompt.length);
    const keys = reusableBlocks(request);
    const cachedTokens = ranks.map(({ prefixes }) => prefixes.cachedTokens(keys));
    const loads = ranks.map(({ prefill }) => prefill);
    const index = this.#takesTurns
      ? this.#given % loads.length
      : choosePrefillRank({ promptTokens, cachedTokens }, loads, this.#costs);
    const chosen = ranks[index];
    chosen.prefixes.remember(keys);
    const load = prefillLoad(promptTokens, cachedTokens[index]);
    chosen.weigh(load, 1);
    const blocks = keys.length - cachedTokens[index] / PAGE_TOKENS;
    return { chosen, prefilled: once(() => chosen.weigh(load, -1)), blocks };
  }

  /** Who reads the blocks of a prompt: the rank that computes it, or the one that decodes. */
  #readerOf(blocks: number, prefill: ServingRank, decode: ServingRank | undefined): ServingRank {
    if (!decode || blocks === 0 || this.#reading === "prefill") return prefill;
    if (this.#reading === "decode") return decode;
    // Who lacks room reads late.
    if (!decode.decoding.hasRoom) return prefill;
    const ways = { blocks, prefill: prefill.reading, decode: decode.reading };
    const reader = chooseBlockReader({ ...ways, lendMs: decode.lendMs });
    return reader === "decode" ? decode : prefill;
  }

  /** Where no rank has room the request waits on the one that would be chosen with more. */
  #takeDecode({ prompt, maxTokens, generated = 0 }: AskedRequest, ranks: readonly ServingRank[]) {
    const kvTokens = prompt.length + Math.min(maxTokens - generated, this.#answerTokens);
    const loads = ranks.map(({ decoding }) => decoding.load);
    const unlimited = { kvCapacity: Infinity, requestCapacity: Infinity };
    const roomy = loads.map((load) => ({ ...load, ...unlimited }));
    const index = this.#takesTurns
      ? this.#given % loads.length
      : (chooseDecodeRank(kvTokens, loads) ?? chooseDecodeRank(kvTokens, roomy));
    const chosen = ranks[index as number];
    const { grow, leave } = chosen.decoding.take(kvTokens);
    return { chosen, grow, release: once(leave) };
  }
}

/** A rank that computes a prompt, until that is done. */
interface Computing {
  readonly chosen: ServingRank;
  readonly prefilled: () => void;
  /** That it lacks, and may be in the context cache. */
  readonly blocks: number;
}

/** Microseconds of a block. */
type Micros = { readonly read?: number; readonly lent?: number };

function once(act: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    act();
  };
}
