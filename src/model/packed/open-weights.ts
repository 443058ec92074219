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
 * have their strips there. Headers are read and nothing else.
 */
export async function openWeights(directory: string, packed?: string): Promise<OpenedWeights> {
  const config = await readConfig(directory);
  const tensors = packed === undefined ? [] : await readSafetensors(packed);
  const strips = new Map(tensors.map(({ name, file, offset }) => [name, { file, offset }]));
  const checkpoint = await openCheckpoint(directory, config.quantization, strips);
  return { config, checkpoint, files: packed === undefined ? checkpoint.files : [packed] };
}
