import assert from "node:assert/strict";
import { PeerLostError, type Transport } from "../../cluster/index.ts";
import { copyOf } from "../../cluster/ranks/transport.ts";
import { decodeTransfer, type TransferMessage } from "../../kv-cache/index.ts";
import { createKernels } from "../../kernels/index.ts";
import { changedKernels } from "../../model/fixtures.ts";
import type { GenerationEvent, AskedRequest } from "../messages.ts";
import { admitted } from "../requests.ts";
import type { EngineCore } from "./core.ts";

export const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Work of late kernels, which `OneThreadClient` waits for: a turn is as long as it takes. */
const underWay = new Set<Promise<void>>();

/** The fastest kernels, which are done a turn later, so that the thread hears other things meanwhile. */
export const lateKernels = () =>
  changedKernels(
    (stream) => ({
      async fence() {
        const work = stream.fence();
        underWay.add(work);
        await work.finally(() => underWay.delete(work));
        await nextTurn();
      },
    }),
    createKernels({ atFence: true }),
  );

/** Runs requests together to their ends and waits for their blocks; what each was told. */
export async function runToEnd(core: EngineCore, requests: readonly AskedRequest[]) {
  const told = requests.map((): GenerationEvent[] => []);
  requests.forEach((one, handle) => core.submit(handle, one));
  while (!core.idle) {
    for (const { handle, event } of await core.step()) told[handle].push(event);
  }
  await core.flush();
  assert.equal(core.stats.pagesInUse, 0, "every page is given back");
  return told;
}

/** Ranks of one thread that send each other what hand-overs need, each message some turns late. */
export class Neighbours {
  readonly cores = new Map<number, EngineCore>();
  readonly sent: TransferMessage[] = [];
  /** Throws where a message cannot be sent. */
  refuse: (message: TransferMessage) => void = () => undefined;
  readonly #lost = new Set<number>();
  readonly #lastOf = new Map<string, Promise<void>>();
  readonly #delay: () => number;
  #underWay = 0;

  /** `delay`: turns of the event loop that the next message takes. */
  constructor(delay: () => number = () => 0) {
    this.#delay = delay;
  }

  get quiet(): boolean {
    return this.#underWay === 0;
  }

  transport(rank: number): Transport {
    return {
      rank,
      send: async (to, _channel, bytes) => this.#send(rank, to, copyOf(bytes)),
      receive: () => Promise.reject(new Error("cores are told")),
      release: () => undefined,
      arrival: () => Promise.reject(new Error("cores are told")),
      close: () => undefined,
    };
  }

  /** The rank answers no more; the others are told. */
  lose(rank: number): void {
    this.#lost.add(rank);
    this.cores.delete(rank);
    for (const core of this.cores.values()) core.lose(rank, `rank ${rank} is lost`);
  }

  async #send(from: number, to: number, bytes: Uint8Array): Promise<void> {
    const message = decodeTransfer(bytes);
    this.#checkAlive(to);
    this.refuse(message);
    this.sent.push(message);
    this.#underWay++;
    const earlier = this.#lastOf.get(`${from} ${to}`);
    const delivered = this.#deliver(from, to, bytes, earlier);
    this.#lastOf.set(`${from} ${to}`, delivered);
    await delivered;
    this.#checkAlive(to);
  }

  async #deliver(from: number, to: number, bytes: Uint8Array, earlier?: Promise<void>) {
    for (let turn = this.#delay(); turn > 0; turn--) await nextTurn();
    await earlier;
    this.#underWay--;
    if (!this.#lost.has(from)) this.cores.get(to)?.receive(from, bytes);
  }

  #checkAlive(rank: number): void {
    if (this.#lost.has(rank)) throw new PeerLostError(rank, "it has ended");
  }
}

/** A request's way: its ranks, and what each has told of it. */
interface Way {
  readonly prefillRank: number;
  readonly decodeRank: number;
  readonly byPrefill: GenerationEvent[];
  readonly byDecode: GenerationEvent[];
}

/** Asks for one of some requests on ranks that are still there, and may leave. */
export interface Visitor {
  readonly kind: number;
  readonly at: number;
  readonly prefillRank: number;
  readonly decodeRank: number;
  readonly borrows?: boolean;
  /** Turns after which the client leaves. */
  readonly patience: number | null;
}

/** What the engine's client does, in one thread: tells ranks of requests, and lets them step. */
export class OneThreadClient {
  readonly #neighbours: Neighbours;
  readonly #ways = new Map<number, Way>();
  readonly #stepping = new Set<EngineCore>();

  constructor(neighbours: Neighbours) {
    this.#neighbours = neighbours;
  }

  submit(
    handle: number,
    request: AskedRequest,
    prefillRank = 0,
    decodeRank = 1,
    borrows = false,
  ): void {
    this.#ways.set(handle, { prefillRank, decodeRank, byPrefill: [], byDecode: [] });
    this.#neighbours.cores.get(decodeRank)?.expect(handle, admitted(request), prefillRank);
    this.#neighbours.cores.get(prefillRank)?.submit(handle, request, decodeRank, borrows);
  }

  cancel(handle: number): void {
    for (const core of this.#neighbours.cores.values()) core.cancel(handle);
  }

  /** A rank is lost: what cannot go on without it is cancelled. */
  lose(rank: number): void {
    this.#neighbours.lose(rank);
    for (const [handle, { prefillRank, decodeRank, byPrefill }] of this.#ways) {
      const isPrefilled = byPrefill.some(({ kind }) => kind === "token");
      if (decodeRank === rank || (prefillRank === rank && !isPrefilled)) this.cancel(handle);
    }
  }

  /** What a client was told, in its order. */
  told(handle: number): GenerationEvent[] {
    const { byPrefill = [], byDecode = [] } = this.#ways.get(handle) ?? {};
    return [...byPrefill, ...byDecode];
  }

  /** A turn of the event loop; whether anything is left to do. */
  async turn(): Promise<boolean> {
    const cores = [...this.#neighbours.cores];
    for (const [rank, core] of cores) {
      if (!core.idle && !this.#stepping.has(core)) void this.#step(rank, core);
    }
    await Promise.allSettled(underWay);
    await nextTurn();
    const isIdle = cores.every(([, core]) => core.idle && !this.#stepping.has(core));
    return !isIdle || !this.#neighbours.quiet;
  }

  /** Lets the ranks step until something has come about, by default until nothing is left to do. */
  async run(until: () => boolean = () => false): Promise<void> {
    for (let turn = 0; turn < 5000; turn++) {
      if (until() || !(await this.turn())) return;
    }
    throw new Error("the ranks came to no end");
  }

  /** Visitors, whose places are their handles, come and leave, and a rank may be lost; then all goes to its end. */
  async receive(
    visitors: readonly Visitor[],
    kinds: readonly AskedRequest[],
    lost: { readonly rank: number; readonly at: number } | null,
    turns: number,
  ): Promise<void> {
    for (let turn = 0; turn < turns; turn++) {
      for (const [handle, visitor] of visitors.entries()) {
        const { kind, at, prefillRank, decodeRank, borrows, patience } = visitor;
        const { cores } = this.#neighbours;
        const isThere = cores.has(prefillRank) && cores.has(decodeRank);
        if (turn === at && isThere) {
          this.submit(handle, kinds[kind], prefillRank, decodeRank, borrows);
        }
        if (patience !== null && turn === at + patience) this.cancel(handle);
      }
      if (lost?.at === turn) this.lose(lost.rank);
      await this.turn();
    }
    await this.run();
  }

  async #step(rank: number, core: EngineCore): Promise<void> {
    this.#stepping.add(core);
    for (const { handle, event } of await core.step()) {
      const way = this.#ways.get(handle);
      const told = way?.prefillRank === rank ? way.byPrefill : way?.byDecode;
      if (this.#neighbours.cores.get(rank) === core) told?.push(event);
      if (event.kind === "failed") this.cancel(handle);
    }
    this.#stepping.delete(core);
  }
}
