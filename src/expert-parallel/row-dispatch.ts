import { channels } from "../cluster/index.ts";
import type { ExpertBatch } from "../model/index.ts";
import type { DispatchLayout } from "./layout.ts";
import type { UnitExperts } from "./row-exchange.ts";
import type { Routes } from "./routes.ts";
import {
  decodeDispatch,
  DispatchError,
  encodeDispatch,
  rowBytesOf,
  type DispatchMessage,
  type DispatchPart,
  type RowBytes,
} from "./wire.ts";

/** A rank's rows for this one. */
export interface ArrivedPart {
  readonly part: DispatchPart;
  readonly bytes: RowBytes;
}

/** Sends the parts of a message to a rank, on a channel. */
export type SendParts = (rank: number, channel: number, parts: readonly Uint8Array[]) => void;

export interface RowDispatchOptions {
  /** Experts of a rank. */
  readonly slots: number;
  readonly routes: Routes;
  readonly send: SendParts;
}

/** The dispatch of one micro-batch in one layer. Ranks are numbered as in their unit. */
export class RowDispatch {
  readonly #unit: UnitExperts;
  readonly #batch: ExpertBatch;
  readonly #options: RowDispatchOptions;
  readonly #messages: Uint8Array[] = [];

  constructor(unit: UnitExperts, batch: ExpertBatch, options: RowDispatchOptions) {
    this.#unit = unit;
    this.#batch = batch;
    this.#options = options;
  }

  /** Rows set out, once on each way. */
  send({ parts }: DispatchLayout): void {
    const { own, traffic } = this.#unit;
    const { input, microBatch } = this.#batch;
    const { routes, send } = this.#options;
    const bytes = rowBytesOf(input);
    for (const { to, ranks } of routes.ways) {
      const there = new Map(ranks.map((rank) => [rank, parts[rank]]));
      const message = encodeDispatch({ source: own, bytes, parts: there }, input);
      traffic.rowsSent[to] += message.rows;
      send(to, channels.dispatch(microBatch), message.parts);
    }
  }

  /**
   * Takes the rows of each other rank as they come, and passes on what is for others of the node. Those
   * that are expected `soon` may put the thread to sleep.
   */
  async take(took: (rank: number, arrived: ArrivedPart) => void, expected?: "soon"): Promise<void> {
    const { own } = this.#unit;
    const { straight, passing } = this.#options.routes;
    const { microBatch } = this.#batch;
    const takeOwn = ({ source, bytes, parts }: DispatchMessage) => {
      const part = parts.get(own);
      if (!part) throw new DispatchError(`rows of rank ${source} came to ${own}, which has none`);
      took(source, { part, bytes });
    };
    const dispatched = straight.map(async (rank) => {
      const message = await this.#next(rank, channels.dispatch(microBatch), expected);
      this.#passOn(message);
      takeOwn(message);
    });
    const passedOn = passing.map(async (rank) =>
      takeOwn(await this.#next(rank, channels.fanOut(microBatch), expected)),
    );
    await Promise.all([...dispatched, ...passedOn]);
  }

  /** Nobody reads any more what has come, and all is sent that was passed on. */
  release(): void {
    for (const message of this.#messages.splice(0)) this.#unit.unit.transport.release(message);
  }

  #passOn({ source, bytes, parts }: DispatchMessage): void {
    const { input, microBatch } = this.#batch;
    for (const [rank, part] of parts) {
      if (rank === this.#unit.own) continue;
      const message = encodeDispatch({ source, bytes, parts: new Map([[rank, part]]) }, input);
      this.#options.send(rank, channels.fanOut(microBatch), message.parts);
    }
  }

  async #next(rank: number, channel: number, expected?: "soon"): Promise<DispatchMessage> {
    const { transport, ranks } = this.#unit.unit;
    const message = await transport.receive(ranks[rank], channel, expected);
    this.#messages.push(message);
    const { slots } = this.#options;
    return decodeDispatch(message, this.#batch.input, { ranks: ranks.length, slots });
  }
}
