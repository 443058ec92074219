/**
 * What a control message says: JSON, and beside it, as bytes, the typed arrays that stand in it.
 *
 *     JSON's length u32 | JSON | bytes of the arrays, one after the other
 *
 * In the JSON an array is `{"$bytes": [type, length]}`; arrays follow each other as they do there.
 */
import { FrameError } from "./frame.ts";

const arrayTypes = {
  Uint8Array,
  Int16Array,
  Int32Array,
  Uint32Array,
  Float64Array,
} as const;

type NumberArray = InstanceType<(typeof arrayTypes)[keyof typeof arrayTypes]>;

const MARK = "$bytes";

export function encodeBody(body: unknown): Uint8Array {
  const arrays: NumberArray[] = [];
  const json = JSON.stringify(body, (_, value: unknown) => {
    if (!ArrayBuffer.isView(value)) return value;
    const { name } = value.constructor;
    if (!(name in arrayTypes)) throw new TypeError(`a ${name} has no place in a control message`);
    const array = value as NumberArray;
    arrays.push(array);
    return { [MARK]: [name, array.length] };
  });
  const text = Buffer.from(json);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(text.length);
  const bytes = arrays.map((array) =>
    Buffer.from(array.buffer, array.byteOffset, array.byteLength),
  );
  return Buffer.concat([length, text, ...bytes]);
}

/** What was encoded, for a schema to check. @throws FrameError */
export function decodeBody(payload: Uint8Array): unknown {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  const textLength = bytes.length < 4 ? Infinity : bytes.readUInt32BE(0);
  if (4 + textLength > bytes.length) throw new FrameError("control frame: expected JSON");
  const arrays = new ArrayReader(bytes.subarray(4 + textLength));
  const body = parse(bytes.subarray(4, 4 + textLength), (_, value: unknown) =>
    arrays.revive(value),
  );
  arrays.expectEnd();
  return body;
}

function parse(text: Uint8Array, reviver: (key: string, value: unknown) => unknown): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(text), reviver);
  } catch (error) {
    if (error instanceof FrameError) throw error;
    throw new FrameError("control frame: expected JSON");
  }
}

/** Takes the arrays off their bytes in the order in which the JSON names them. */
class ArrayReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** An array for its mark, any other value as it is. @throws FrameError */
  revive(value: unknown): unknown {
    if (typeof value !== "object" || value === null || !(MARK in value)) return value;
    const [name, length] = value[MARK] as [string, number];
    if (!Object.hasOwn(arrayTypes, name) || !Number.isInteger(length) || length < 0) {
      throw new FrameError("control frame: expected the type and length of an array");
    }
    const type = arrayTypes[name as keyof typeof arrayTypes];
    const end = this.#at + length * type.BYTES_PER_ELEMENT;
    if (end > this.#bytes.length) throw new FrameError("control frame: an array is cut short");
    // A copy, because arrays begin at any byte here.
    const array = new type(Uint8Array.from(this.#bytes.subarray(this.#at, end)).buffer);
    this.#at = end;
    return array;
  }

  expectEnd(): void {
    if (this.#at === this.#bytes.length) return;
    throw new FrameError("control frame: bytes are left that no array names");
  }
}
