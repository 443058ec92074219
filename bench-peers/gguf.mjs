// GGUF version 3, as https://github.com/ggml-org/ggml/blob/master/docs/gguf.md describes it: metadata, then tensors.
import { open } from "node:fs/promises";

const ALIGNMENT = 32;

/** Numbers of the value types. */
const valueTypes = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 };

/** Numbers of the tensor types, and the bytes of a block of so many values. */
export const tensorTypes = {
  F32: { number: 0, values: 1, bytes: 4 },
  Q8_0: { number: 8, values: 32, bytes: 34 },
  BF16: { number: 30, values: 1, bytes: 2 },
};

export const u32 = (value) => ({ type: "u32", value });
export const f32 = (value) => ({ type: "f32", value });
export const bool = (value) => ({ type: "bool", value });
export const string = (value) => ({ type: "string", value });
export const array = (of, value) => ({ type: "array", of, value });

/**
 * Bytes of a tensor.
 * @param {{ type: keyof typeof tensorTypes, shape: readonly number[] }} tensor the row's length comes first
 */
export function bytesOf({ type, shape }) {
  const { values, bytes } = tensorTypes[type];
  return (shape.reduce((product, side) => product * side, 1) / values) * bytes;
}

/**
 * Writes a file.
 * @param {string} path
 * @param {Readonly<Record<string, { type: string, value: unknown, of?: string }>>} metadata
 * @param {readonly { name: string, type: keyof typeof tensorTypes, shape: readonly number[] }[]} tensors
 * @param {(tensor: object, bytes: number) => Buffer} fill the next so many bytes of a tensor
 */
export async function writeGguf(path, metadata, tensors, fill) {
  const file = await open(path, "w");
  try {
    const header = headerOf(metadata, tensors);
    await file.writeFile(header);
    for (const tensor of tensors) {
      const bytes = bytesOf(tensor);
      for (let at = 0; at < bytes; at += CHUNK) {
        await file.writeFile(fill(tensor, Math.min(CHUNK, bytes - at)));
      }
      await file.writeFile(Buffer.alloc(padding(bytes)));
    }
  } finally {
    await file.close();
  }
}

/** A multiple of every block's bytes. */
const CHUNK = 34 * 2 ** 19;

const padding = (bytes) => (ALIGNMENT - (bytes % ALIGNMENT)) % ALIGNMENT;

function headerOf(metadata, tensors) {
  const entries = Object.entries(metadata);
  const parts = [Buffer.from("GGUF"), integer(3), long(tensors.length), long(entries.length)];
  for (const [key, value] of entries) {
    parts.push(text(key), integer(valueTypes[value.type]), ...bytesOfValue(value));
  }
  let offset = 0;
  for (const tensor of tensors) {
    const { name, type, shape } = tensor;
    parts.push(text(name), integer(shape.length), ...shape.map(long));
    parts.push(integer(tensorTypes[type].number), long(offset));
    offset += bytesOf(tensor);
    offset += padding(offset);
  }
  const header = Buffer.concat(parts);
  return Buffer.concat([header, Buffer.alloc(padding(header.length))]);
}

function bytesOfValue({ type, of, value }) {
  switch (type) {
    case "u32":
      return [integer(value)];
    case "i32": {
      const bytes = Buffer.alloc(4);
      bytes.writeInt32LE(value);
      return [bytes];
    }
    case "f32": {
      const bytes = Buffer.alloc(4);
      bytes.writeFloatLE(value);
      return [bytes];
    }
    case "bool":
      return [Buffer.of(value ? 1 : 0)];
    case "string":
      return [text(value)];
    case "array":
      return [
        integer(valueTypes[of]),
        long(value.length),
        ...value.flatMap((each) => bytesOfValue({ type: of, value: each })),
      ];
    default:
      throw new RangeError(`${type} is no type of value`);
  }
}

function integer(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function long(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function text(value) {
  const bytes = Buffer.from(value);
  return Buffer.concat([long(bytes.length), bytes]);
}
