import { createHash, webcrypto } from "node:crypto";
import { PAGE_TOKENS } from "../kernels/index.ts";
import type { NumericIdentity } from "../model/index.ts";
import { blockBytes, type BlockShape } from "./page-bytes.ts";
import type { BlockKey } from "./prefix.ts";

const MAGIC = "DAYSIXKV";
const FORMAT_VERSION = 2;
const TAG_BYTES = 32;

/** Offsets in a block file, in bytes; numbers are little-endian. */
const at = {
  magic: 0,
  version: 8,
  layers: 12,
  tokens: 16,
  width: 20,
  bytesPerValue: 24,
  /** Four bytes that tell keys of authentication apart. */
  sealer: 28,
  identity: 32,
  key: 64,
  payload: 96,
} as const;

/** What is wrong with a block file of the right size. */
export type BlockDamage =
  | "magic"
  | "version"
  | "shape"
  | "sealed with another key"
  | "identity"
  | "key"
  | "authentication";

/**
 * A block as a file: header, the values of 64 tokens in all layers as they lie in memory, and an
 * HMAC-SHA-256 of everything before it under the store's key. The header names who computed the
 * values (numeric identity) and what they are of (the block's key), so no file can be taken for
 * another, and nobody without the store's key can make one.
 */
export class BlockCodec {
  /** Of a whole file: every block of one model and policy is equally long. */
  readonly fileBytes: number;
  readonly #shape: BlockShape;
  /** SHA-256 of the numeric identity. */
  readonly #identity: Buffer;
  readonly #sealer: Buffer;
  readonly #hmac: Promise<webcrypto.CryptoKey>;

  /** `key`: the store's. */
  constructor(identity: NumericIdentity, shape: BlockShape, key: Uint8Array) {
    this.#shape = shape;
    this.#sealer = createHash("sha256").update("daysix block key").update(key).digest();
    this.#hmac = webcrypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, [
      "sign",
      "verify",
    ]);
    this.#identity = createHash("sha256").update(canonical(identity)).digest();
    this.fileBytes = at.payload + blockBytes(shape) + TAG_BYTES;
  }

  /**
   * The name a block is kept under, 64 hexadecimal digits: whose numbers, of which tokens, and under which
   * key, so that servers with another key never meet it.
   */
  name(key: BlockKey): string {
    const hash = createHash("sha256").update(`${MAGIC} ${FORMAT_VERSION}`);
    return hash.update(this.#sealer).update(this.#identity).update(key).digest("hex");
  }

  /** A file without its payload and seal yet. */
  frame(key: BlockKey): Buffer {
    const file = Buffer.allocUnsafeSlow(this.fileBytes);
    file.set(this.#header(key));
    return file;
  }

  /** The part of a file that holds the values. [layers, 64, width] */
  payload(file: Uint8Array): Uint8Array {
    return file.subarray(at.payload, this.fileBytes - TAG_BYTES);
  }

  /** Adds the HMAC, computed on another thread. */
  async seal(file: Buffer): Promise<void> {
    const tag = await webcrypto.subtle.sign("HMAC", await this.#hmac, this.#sealed(file));
    file.set(new Uint8Array(tag), this.fileBytes - TAG_BYTES);
  }

  /** What makes a file of the right size unusable for this block, if anything. */
  async damage(file: Uint8Array, key: BlockKey): Promise<BlockDamage | undefined> {
    const expected = this.#header(key);
    const differs = (from: number, to: number) => expected.compare(file, from, to, from, to) !== 0;
    if (differs(at.magic, at.version)) return "magic";
    if (differs(at.version, at.layers)) return "version";
    if (differs(at.layers, at.sealer)) return "shape";
    if (differs(at.sealer, at.identity)) return "sealed with another key";
    if (differs(at.identity, at.key)) return "identity";
    if (differs(at.key, at.payload)) return "key";
    const tag = file.subarray(this.fileBytes - TAG_BYTES);
    const data = this.#sealed(file);
    const isOurs = await webcrypto.subtle.verify("HMAC", await this.#hmac, tag, data);
    return isOurs ? undefined : "authentication";
  }

  #header(key: BlockKey): Buffer {
    const header = Buffer.alloc(at.payload);
    header.write(MAGIC, at.magic, "latin1");
    header.writeUInt32LE(FORMAT_VERSION, at.version);
    header.writeUInt32LE(this.#shape.layers, at.layers);
    header.writeUInt32LE(PAGE_TOKENS, at.tokens);
    header.writeUInt32LE(this.#shape.width, at.width);
    header.writeUInt32LE(this.#shape.bytesPerValue, at.bytesPerValue);
    header.set(this.#sealer.subarray(0, at.identity - at.sealer), at.sealer);
    header.set(this.#identity, at.identity);
    header.set(Buffer.from(key, "base64"), at.key);
    return header;
  }

  #sealed(file: Uint8Array): Uint8Array {
    return file.subarray(0, this.fileBytes - TAG_BYTES);
  }
}

/** The same text for the same identity, whatever the order of its fields. */
function canonical(identity: NumericIdentity): string {
  return JSON.stringify(Object.entries(identity).sort(([a], [b]) => (a < b ? -1 : 1)));
}
