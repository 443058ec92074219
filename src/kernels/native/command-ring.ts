import { allocate } from "../buffers.ts";
import type { AddonStream, NativeAddon } from "../native-addon.ts";
import type { Stream } from "../stream.ts";

/** Layout of native/host/ring.h. */
const COMMAND_WORDS = 32;
const PUBLISHED = 0;
const EXECUTED = 16;
const ASLEEP = 32;
const HEADER_WORDS = 48;

/** Commands that may wait: more than a step of the largest model enqueues. */
const CAPACITY = 8192;

/** After so many commands the ring lets go of the buffers of commands that have run. */
const HOLD_COMMANDS = 256;

/** The operations of a stream. */
export type Operation =
  | Exclude<keyof Stream, "policy" | "operandFormat" | "fence" | "reset" | "close">
  | "dispatchRows"
  | "awaitRanks"
  | "groupArrived"
  | "returnRows";

/** How an operation's arguments are written. */
interface Encoding {
  readonly operation: string;
  readonly number: number;
  /** What each word after the number holds. */
  readonly words: readonly string[];
  /**
   * The word of each argument in the order in which they are written, which is always the same: the
   * first time they are found by name.
   */
  readonly places: number[];
}

type Numbers = NodeJS.TypedArray;

/**
 * This end of a stream's ring: writes commands as words and publishes them. An argument is a number,
 * or a typed array as its address; the buffers behind addresses are held until their command ran.
 * The addon says which word is whose.
 */
export class CommandRing {
  readonly header = allocate(Int32Array, HEADER_WORDS, SharedArrayBuffer);
  readonly words = allocate(Float64Array, COMMAND_WORDS * CAPACITY, SharedArrayBuffer);
  readonly #addon: NativeAddon;
  readonly #addresses = new WeakMap<ArrayBufferLike, number>();
  readonly #encodings: Readonly<Record<string, Encoding>>;
  #encoding: Encoding = { operation: "", number: 0, words: [], places: [] };
  /** The first word of the command's arguments, and how many are written. */
  #at = 0;
  #written = 0;
  #published = 0;
  /** What EXECUTED was when last looked at: looking takes the cache line from the stream's thread. */
  #executed = 0;
  /** Buffers of the commands before number `#mark`, and of later ones. */
  #held: { earlier: ArrayBufferLike[]; later: ArrayBufferLike[] } = { earlier: [], later: [] };
  #mark = 0;

  constructor(addon: NativeAddon) {
    this.#addon = addon;
    this.#encodings = Object.fromEntries(
      addon.operations.map(({ name, words }, number) => {
        if (words.length >= COMMAND_WORDS)
          throw new Error(`${name} takes more words than there are`);
        return [name, { operation: name, number, words, places: [] }];
      }),
    );
  }

  /** Number of the next command; numbers wrap around. */
  get published(): number {
    return this.#published;
  }

  /** Whether every command before number `target` has run. */
  reached(target: number): boolean {
    if (((this.#executed - target) | 0) >= 0) return true;
    this.#executed = Atomics.load(this.header, EXECUTED);
    return ((this.#executed - target) | 0) >= 0;
  }

  begin(operation: Operation, stream: AddonStream): void {
    if (!this.reached((this.#published - CAPACITY + 1) | 0)) stream.waitForRoom();
    if (this.#published % HOLD_COMMANDS === 0) this.#letGo();
    const first = (this.#published & (CAPACITY - 1)) * COMMAND_WORDS;
    this.#encoding = this.#encodings[operation] ?? refuseAddon(operation);
    this.words[first] = this.#encoding.number;
    this.#at = first + 1;
    this.#written = 0;
  }

  /** Writes an argument, or a field of the argument `of`. */
  number(name: string, value: number, of = ""): void {
    const { places } = this.#encoding;
    const place = this.#written < places.length ? places[this.#written] : this.#find(name, of);
    this.#written++;
    this.words[this.#at + place] = value;
  }

  /** An argument of at least `count` values. */
  array(name: string, values: Numbers, count: number, of = ""): void {
    this.number(name, this.address(name, values, count, of), of);
  }

  /** Where at least `count` values lie, which are held until the command has run. */
  address(name: string, values: Numbers, count: number, of = ""): number {
    if (!(values.length >= count)) this.#refuseShort(fullName(name, of), values, count);
    const { buffer } = values;
    this.#held.later.push(buffer);
    return (this.#addresses.get(buffer) ?? this.#locate(buffer)) + values.byteOffset;
  }

  #refuseMissing(): never {
    const { operation, words, places } = this.#encoding;
    const missing = words.filter((_, word) => !places.includes(word));
    throw new Error(`${operation}: nothing was written for ${missing.join(", ")}`);
  }

  #refuseShort(name: string, { length }: Numbers, count: number): never {
    const problem = `${name} holds ${length} values, ${count} are needed`;
    throw new RangeError(`${this.#encoding.operation}: ${problem}`);
  }

  #locate(buffer: ArrayBufferLike): number {
    const address = this.#addon.address(new Uint8Array(buffer));
    this.#addresses.set(buffer, address);
    return address;
  }

  publish(stream: AddonStream): void {
    if (this.#written !== this.#encoding.words.length) this.#refuseMissing();
    this.#published = (this.#published + 1) | 0;
    Atomics.store(this.header, PUBLISHED, this.#published);
    if (Atomics.load(this.header, ASLEEP) !== 0) stream.wake();
  }

  /** The word of the argument that is written next, for the first time. */
  #find(name: string, of: string): number {
    const { operation, words, places } = this.#encoding;
    const place = words.indexOf(fullName(name, of));
    if (place < 0 || places.includes(place)) refuseAddon(`${operation}: ${fullName(name, of)}`);
    places.push(place);
    return place;
  }

  /** Lets go of the buffers of commands that have run. */
  #letGo(): void {
    if (!this.reached(this.#mark)) return;
    this.#held = { earlier: this.#held.later, later: [] };
    this.#mark = this.#published;
  }

  /** To be called when nothing is left to run. */
  letGoOfAll(): void {
    this.#held = { earlier: [], later: [] };
  }
}

const fullName = (name: string, of: string) => (of ? `${of}.${name}` : name);

function refuseAddon(what: string): never {
  throw new Error(`the native kernels know no ${what}; run \`npm run build:native\``);
}
