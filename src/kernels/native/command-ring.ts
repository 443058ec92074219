import { allocate } from "../buffers.ts";
import { operations, type AddonStream, type NativeAddon, type Operation } from "../native-addon.ts";

/** Layout of native/ring.h. */
const COMMAND_WORDS = 32;
const PUBLISHED = 0;
const EXECUTED = 16;
const ASLEEP = 32;
const HEADER_WORDS = 48;

/** Commands that may wait: more than a step of the largest model enqueues. */
const CAPACITY = 4096;

/** Commands after which buffers that nothing points to any more are let go. */
const HOLD_COMMANDS = 256;

const numbers = Object.fromEntries(operations.map((name, number) => [name, number])) as Readonly<
  Record<Operation, number>
>;

type Numbers = NodeJS.TypedArray;

/**
 * This end of a stream's ring: writes commands as words and publishes them. An argument is a number,
 * or a typed array as its address; the buffers behind addresses are held until their command ran.
 */
export class CommandRing {
  readonly header = allocate(Int32Array, HEADER_WORDS, SharedArrayBuffer);
  readonly words = allocate(Float64Array, COMMAND_WORDS * CAPACITY, SharedArrayBuffer);
  readonly #addon: NativeAddon;
  readonly #addresses = new WeakMap<ArrayBufferLike, number>();
  #operation: Operation = operations[0];
  #at = 0;
  #published = 0;
  /** What EXECUTED was when last looked at: looking takes the cache line from the stream's thread. */
  #executed = 0;
  /** Buffers of the commands before number `#mark`, and of later ones. */
  #held: { earlier: ArrayBufferLike[]; later: ArrayBufferLike[] } = { earlier: [], later: [] };
  #mark = 0;

  constructor(addon: NativeAddon) {
    this.#addon = addon;
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
    this.#operation = operation;
    this.#at = (this.#published & (CAPACITY - 1)) * COMMAND_WORDS;
    this.number(numbers[operation]);
  }

  number(value: number): void {
    this.words[this.#at++] = value;
  }

  /** An argument of at least `count` values. */
  array(name: string, values: Numbers, count: number): void {
    if (!(values.length >= count)) {
      const problem = `${name} holds ${values.length} values, ${count} are needed`;
      throw new RangeError(`${this.#operation}: ${problem}`);
    }
    const { buffer } = values;
    let address = this.#addresses.get(buffer);
    if (address === undefined) {
      address = this.#addon.address(new Uint8Array(buffer));
      this.#addresses.set(buffer, address);
    }
    this.#held.later.push(buffer);
    this.number(address + values.byteOffset);
  }

  publish(stream: AddonStream): void {
    this.#published = (this.#published + 1) | 0;
    Atomics.store(this.header, PUBLISHED, this.#published);
    if (Atomics.load(this.header, ASLEEP) !== 0) stream.wake();
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
