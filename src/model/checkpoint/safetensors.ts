import type { FileHandle } from "node:fs/promises";
import { weightFormats } from "../../kernels/index.ts";
import { openModelFile, standIn, START_BYTES } from "../model-file.ts";

/** A checkpoint file that is broken, truncated or not what it should be. */
export class CheckpointError extends Error {
  override readonly name = "CheckpointError";
  readonly file: string;
  readonly tensor: string | undefined;

  constructor(file: string, problem: string, tensor?: string) {
    super(tensor === undefined ? `${file}: ${problem}` : `${file}: tensor ${tensor}: ${problem}`);
    this.file = file;
    this.tensor = tensor;
  }
}

/** Where a tensor lies in a safetensors file. */
export interface TensorEntry {
  readonly name: string;
  /** As the file says; not every dtype can be computed with. */
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly file: string;
  /** Byte offset in the file. */
  readonly offset: number;
  readonly bytes: number;
}

/** Upstream's limit on the header. */
const MAX_HEADER_BYTES = 100_000_000;
const LENGTH_BYTES = 8;

/** Bits per element of every dtype the format knows. */
const dtypeBits: Readonly<Record<string, number>> = {
  ...Object.fromEntries(
    Object.entries(weightFormats).map(([dtype, { valueBits }]) => [dtype, valueBits]),
  ),
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  I32: 32,
  U32: 32,
  F64: 64,
  I64: 64,
  U64: 64,
  C64: 64,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
};

/**
 * Reads a safetensors file's header; the data is not touched. Every rule of the format is held:
 * tensors tile the data without holes or overlaps, and lengths match shapes.
 */
export async function readSafetensors(file: string): Promise<TensorEntry[]> {
  const handle = await openModelFile(file);
  try {
    const { size } = await handle.stat();
    const text = await readHeader(handle, file, size);
    return parseHeader(text.header, file, text.dataStart, size);
  } finally {
    await handle.close();
  }
}

async function readHeader(handle: FileHandle, file: string, size: number) {
  const start = Buffer.alloc(START_BYTES);
  const { bytesRead } = await handle.read(start, 0, START_BYTES, 0);
  refuseOtherFormats(start.subarray(0, bytesRead), file);
  if (bytesRead < LENGTH_BYTES) throw new CheckpointError(file, `is only ${bytesRead} bytes long`);
  const length = start.readBigUInt64LE();
  if (length > MAX_HEADER_BYTES) {
    throw new CheckpointError(file, `header of ${length} bytes is over ${MAX_HEADER_BYTES}`);
  }
  const dataStart = LENGTH_BYTES + Number(length);
  if (dataStart > size) {
    throw new CheckpointError(file, `header of ${length} bytes reaches past the file's ${size}`);
  }
  const bytes = Buffer.alloc(Number(length));
  await handle.read(bytes, 0, bytes.length, LENGTH_BYTES);
  try {
    return { header: new TextDecoder("utf-8", { fatal: true }).decode(bytes), dataStart };
  } catch (cause) {
    throw Object.assign(new CheckpointError(file, "header is not valid UTF-8"), { cause });
  }
}

function refuseOtherFormats(start: Buffer, file: string): void {
  const magic = start.toString("latin1");
  if (magic.startsWith("GGUF")) {
    throw new CheckpointError(file, "is a GGUF file; a safetensors checkpoint is needed");
  }
  if (magic.startsWith("PK\x03\x04") || (start[0] === 0x80 && start[1] >= 2 && start[1] <= 5)) {
    throw new CheckpointError(file, "is a PyTorch file; a safetensors checkpoint is needed");
  }
  const other = standIn(start);
  if (other) throw new CheckpointError(file, other);
}

function parseHeader(text: string, file: string, dataStart: number, size: number): TensorEntry[] {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (cause) {
    const problem = `header is not valid JSON: ${(cause as Error).message}`;
    throw Object.assign(new CheckpointError(file, problem), { cause });
  }
  if (!isObject(header)) throw new CheckpointError(file, "header is not a JSON object");
  const duplicate = duplicateKey(text);
  if (duplicate !== undefined) {
    throw new CheckpointError(file, "is described more than once in the header", duplicate);
  }
  const entries: TensorEntry[] = [];
  for (const [name, description] of Object.entries(header)) {
    if (name === "__metadata__") checkMetadata(description, file);
    else entries.push(parseEntry(name, description, file, dataStart));
  }
  checkTiling(entries, file, dataStart, size);
  return entries;
}

function checkMetadata(metadata: unknown, file: string): void {
  const valid =
    isObject(metadata) && Object.values(metadata).every((value) => typeof value === "string");
  if (!valid) throw new CheckpointError(file, "__metadata__ must map strings to strings");
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const isSize = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0;

function parseEntry(name: string, value: unknown, file: string, dataStart: number): TensorEntry {
  const wrong = (problem: string) => new CheckpointError(file, problem, name);
  if (!isObject(value)) throw wrong("is not described by an object");
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(dtypeBits, dtype)) {
    throw wrong(`dtype ${JSON.stringify(dtype)} is unknown`);
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    throw wrong(`shape ${JSON.stringify(shape)} is not a list of sizes`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    throw wrong(`data_offsets ${JSON.stringify(offsets)} are not two offsets`);
  }
  const [start, end] = offsets as [number, number];
  if (end < start) throw wrong(`data_offsets [${start}, ${end}] run backwards`);
  const bits = shape.reduce((product: number, side: number) => product * side, dtypeBits[dtype]);
  if (!Number.isSafeInteger(bits)) throw wrong(`shape [${shape.join(", ")}] is too large`);
  if (bits !== (end - start) * 8) {
    throw wrong(`${dtype} [${shape.join(", ")}] takes ${bits / 8} bytes, but has ${end - start}`);
  }
  return { name, dtype, shape, file, offset: dataStart + start, bytes: end - start };
}

/** Tensors must cover the data exactly: a hole or an overlap is where two readers would differ. */
function checkTiling(entries: TensorEntry[], file: string, dataStart: number, size: number): void {
  const ordered = [...entries].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = dataStart;
  for (const { name, offset, bytes } of ordered) {
    if (offset !== end) {
      const problem = offset < end ? "overlaps the tensor before it" : "leaves a hole before it";
      throw new CheckpointError(file, problem, name);
    }
    end += bytes;
    if (end > size)
      throw new CheckpointError(file, `ends at ${end}, past the file's ${size}`, name);
  }
  if (end !== size) {
    throw new CheckpointError(file, `holds ${size - end} bytes after its last tensor`);
  }
}

/** The first key an object of a valid JSON text repeats; JSON.parse would keep the last silently. */
function duplicateKey(text: string): string | undefined {
  const nesting: (Set<string> | undefined)[] = [];
  const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}[\]]/gs;
  for (const [token, colon] of text.matchAll(tokens)) {
    if (token === "{") nesting.push(new Set());
    else if (token === "[") nesting.push(undefined);
    else if (token === "}" || token === "]") nesting.pop();
    else if (colon !== undefined) {
      const key = JSON.parse(token.slice(0, -colon.length)) as string;
      const keys = nesting.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}
