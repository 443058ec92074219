import { createHash } from "node:crypto";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import {
  createKernels,
  STRIP_LAYOUT,
  StripPacker,
  type Kernels,
  type Policy,
  type Weight,
} from "../../kernels/index.ts";
import {
  expectRoom,
  fileHash,
  type HashedBytes,
  linearWeights,
  modelIdentity,
  modelWeights,
  openCheckpoint,
  readConfig,
  readSafetensors,
  writeSafetensors,
  type ModelIdentity,
  type TensorLayout,
} from "../checkpoint/index.ts";
import { removeLeftovers, partOf } from "./part-files.ts";

/** For which kernels weights are packed. */
export interface PackedFor {
  readonly kernels: Kernels;
  readonly policy: Policy;
}

/** Which checkpoint is packed, and for which policy. */
export interface PackedModel {
  readonly modelDirectory: string;
  readonly policy: Policy;
  /** By which it is known; a sample if none are named. */
  readonly modelBytes?: HashedBytes;
}

/** Whether a packed file can be used: it is whole, it is not there, or something is wrong with it. */
export type PackedState = "sound" | "absent" | { readonly problem: string };

/** Packed at once. */
const PIECE_BYTES = 2 ** 23;
/** The file's last tensor: SHA-256 of its name and of what `fileHash` samples of the others. */
const CHECK = "daysix.check";
const CHECK_BYTES = 32;

/**
 * A checkpoint's linear weights in strips, in one safetensors file: a copy that all processes of a
 * machine map. Its name says of which model and layout, and which dtypes were packed, so that it is
 * never out of date; it is safe to delete and to share.
 */
export class PackedFile {
  readonly path: string;
  readonly #weights: readonly Weight[];
  readonly #layouts: readonly TensorLayout[];

  /**
   * The file that a checkpoint has in a folder, there or not; undefined where the kernels multiply no
   * weight of it faster in strips.
   *
   * @throws CheckpointError or ConfigError where the checkpoint cannot be opened
   */
  static async of(
    modelDirectory: string,
    folder: string,
    { kernels, policy }: PackedFor,
    identity: () => Promise<ModelIdentity>,
  ): Promise<PackedFile | undefined> {
    const liked = kernels.stripDtypes(policy);
    if (liked.length === 0) return undefined;
    const config = await readConfig(modelDirectory);
    const checkpoint = await openCheckpoint(modelDirectory, config.quantization);
    const weights = linearWeights(modelWeights(checkpoint, config)).filter(({ dtype }) =>
      liked.includes(dtype),
    );
    if (weights.length === 0) return undefined;
    const dtypes = [...new Set(weights.map(({ dtype }) => dtype))].sort().join("-");
    const { modelHash } = await identity();
    const name = `${modelHash}-strips-${STRIP_LAYOUT}-${dtypes}.safetensors`;
    return new PackedFile(join(folder, name), weights);
  }

  private constructor(path: string, weights: readonly Weight[]) {
    this.path = path;
    // As they lie, so that disks are read in order.
    this.#weights = weights.toSorted((a, b) =>
      a.file < b.file ? -1 : a.file > b.file ? 1 : a.offset - b.offset,
    );
    const packer = new StripPacker();
    this.#layouts = [
      ...this.#weights.map((weight) => tensorOf(weight.name, packer.bytesOf(weight))),
      tensorOf(CHECK, CHECK_BYTES),
    ];
  }

  /** What the file takes on disk, but for its header. */
  get bytes(): number {
    return this.#layouts.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Reads the header and a sample of each tensor. */
  async state(): Promise<PackedState> {
    try {
      await stat(this.path);
    } catch {
      return "absent";
    }
    try {
      const problem = await this.#problem();
      return problem === undefined ? "sound" : { problem };
    } catch (error) {
      return { problem: (error as Error).message };
    }
  }

  /**
   * Writes the file, replacing what is there: into another one beside it, which is renamed once it is
   * on disk. Removes what packers that were killed have left in the folder.
   *
   * @throws RangeError without room, the system's error where the folder cannot be written
   */
  async write(onProgress: (bytes: number) => void): Promise<void> {
    const folder = dirname(this.path);
    await mkdir(folder, { recursive: true });
    await removeLeftovers(folder);
    await expectRoom(folder, this.bytes);
    const part = partOf(this.path);
    try {
      await this.#writeStrips(part, onProgress);
      await this.#seal(part);
      // Another packer may have been faster: what is mapped already should stay the one copy.
      if ((await this.state()) === "sound") return;
      await rename(part, this.path);
      await syncFolder(folder);
    } finally {
      await rm(part, { force: true });
    }
  }

  async #writeStrips(path: string, onProgress: (bytes: number) => void): Promise<void> {
    const packer = new StripPacker();
    let written = 0;
    await writeSafetensors(path, this.#layouts, async (write) => {
      for await (const piece of packer.pieces(this.#weights, PIECE_BYTES)) {
        await write(piece);
        onProgress((written += piece.length));
      }
      await write(new Uint8Array(CHECK_BYTES));
    });
  }

  /** Writes the check, and the whole file to the disk. */
  async #seal(path: string): Promise<void> {
    const check = await this.#check(path);
    const file = await open(path, "r+");
    try {
      const { size } = await file.stat();
      await file.write(check, 0, CHECK_BYTES, size - CHECK_BYTES);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async #problem(): Promise<string | undefined> {
    const tensors = await readSafetensors(this.path);
    const differs = this.#layouts.some(
      ({ name, bytes }, i) => tensors[i]?.name !== name || tensors[i].bytes !== bytes,
    );
    if (differs || tensors.length !== this.#layouts.length) return "is of other weights";
    const file = await open(this.path);
    const stored = Buffer.alloc(CHECK_BYTES);
    try {
      await file.read(stored, 0, CHECK_BYTES, tensors.at(-1)!.offset);
    } finally {
      await file.close();
    }
    return stored.equals(await this.#check(this.path)) ? undefined : "is damaged";
  }

  async #check(path: string): Promise<Buffer> {
    const tensors = (await readSafetensors(path)).filter(({ name }) => name !== CHECK);
    const hash = createHash("sha256").update(basename(this.path));
    return hash.update(await fileHash(path, tensors, "sample")).digest();
  }
}

/** The packed file that a checkpoint has in a folder for the kernels of this machine. @throws as `PackedFile.of` */
export function packedFile(
  folder: string,
  { modelDirectory, policy, modelBytes = "sample" }: PackedModel,
): Promise<PackedFile | undefined> {
  const identity = () => modelIdentity(modelDirectory, modelBytes);
  return PackedFile.of(modelDirectory, folder, { kernels: createKernels(), policy }, identity);
}

const tensorOf = (name: string, bytes: number) => ({ name, dtype: "U8", shape: [bytes], bytes });

/** So that a name outlives a crash; where folders cannot be opened, the system sees to it. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder).catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}
