import {
  openCheckpoint,
  readConfig,
  readSafetensors,
  type Checkpoint,
  type ModelConfig,
} from "../checkpoint/index.ts";

export interface OpenedWeights {
  readonly config: ModelConfig;
  readonly checkpoint: Checkpoint;
  /** What kernels should load: most of what steps read. */
  readonly files: readonly string[];
}

/**
 * Opens a checkpoint; with a packed file, which PackedFile has found sound, weights that are in it
 * have their strips there. One that was deleted since is done without: ranks start anew long after a
 * server did. Headers are read and nothing else.
 */
export async function openWeights(directory: string, packed?: string): Promise<OpenedWeights> {
  const config = await readConfig(directory);
  const tensors = packed === undefined ? undefined : await tensorsIfThere(packed);
  const strips = new Map(tensors?.map(({ name, file, offset }) => [name, { file, offset }]));
  const checkpoint = await openCheckpoint(directory, config.quantization, strips);
  const files = packed === undefined || !tensors ? checkpoint.files : [packed];
  return { config, checkpoint, files };
}

async function tensorsIfThere(path: string) {
  try {
    return await readSafetensors(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
