import { PAGE_TOKENS } from "../kernels/index.ts";
import type { KvPool } from "../model/index.ts";

/** A block's sizes: [layers, PAGE_TOKENS, width] values. */
export interface BlockShape {
  readonly layers: number;
  /** Values of one token in one layer: latent + rope. */
  readonly width: number;
  readonly bytesPerValue: number;
}

/** A rank's pages as bytes: a page's 64 tokens of every layer, first layer first. */
export class PageBytes {
  readonly shape: BlockShape;
  /** Of a page in all layers. */
  readonly bytes: number;
  /** All pages of each layer. */
  readonly #layers: readonly Uint8Array[];

  /** `pages`: how many pages `kv` has. */
  constructor(kv: KvPool, pages: number) {
    const [{ entries }] = kv.layers;
    this.shape = {
      layers: kv.layers.length,
      width: entries.length / (pages * PAGE_TOKENS),
      bytesPerValue: entries.BYTES_PER_ELEMENT,
    };
    this.bytes = blockBytes(this.shape);
    this.#layers = kv.layers.map(
      (layer) =>
        new Uint8Array(layer.entries.buffer, layer.entries.byteOffset, layer.entries.byteLength),
    );
  }

  copyOut(page: number, target: Uint8Array): void {
    const size = this.#layerBytes;
    this.#layers.forEach((layer, i) => {
      target.set(layer.subarray(page * size, (page + 1) * size), i * size);
    });
  }

  copyIn(page: number, source: Uint8Array): void {
    const size = this.#layerBytes;
    this.#layers.forEach((layer, i) => {
      layer.set(source.subarray(i * size, (i + 1) * size), page * size);
    });
  }

  get #layerBytes(): number {
    return this.bytes / this.shape.layers;
  }
}

export function blockBytes({ layers, width, bytesPerValue }: BlockShape): number {
  return layers * PAGE_TOKENS * width * bytesPerValue;
}
