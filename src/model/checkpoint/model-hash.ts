import { createHash, type Hash } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { openCheckpoint } from "./checkpoint.ts";
import { CheckpointError } from "./safetensors.ts";

/** Small files that decide what a model's tokens and numbers mean; each may be missing. */
const wholeFiles = [
  "config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "chat_template.jinja",
] as const;

/** Pieces read from each weight file, evenly spaced from its first byte to its last. */
const SAMPLES = 32;
const SAMPLE_BYTES = 4096;

/**
 * SHA-256, in hex, that tells checkpoints apart without reading them whole: configuration and
 * tokenizer, the description, place and file of every tensor, the size of every weight file and
 * a fixed sample of its bytes. Where the folder lies does not matter.
 * @throws CheckpointError naming the file
 */
export async function modelHash(directory: string): Promise<string> {
  const hash = createHash("sha256");
  for (const name of wholeFiles) {
    const bytes = await readFile(join(directory, name)).catch(nullIfMissing);
    addField(hash, name, bytes ?? "missing");
  }
  const tensors = [...(await openCheckpoint(directory)).tensors()].sort((a, b) =>
    a.name < b.name ? -1 : 1,
  );
  for (const { name, dtype, shape, file, offset, bytes } of tensors) {
    addField(hash, name, JSON.stringify([dtype, shape, basename(file), offset, bytes]));
  }
  for (const file of [...new Set(tensors.map((tensor) => tensor.file))].sort()) {
    await addSample(hash, file);
  }
  return hash.digest("hex");
}

function nullIfMissing(error: NodeJS.ErrnoException): null {
  if (error.code === "ENOENT") return null;
  throw error;
}

/** Lengths keep neighbouring fields apart. */
function addField(hash: Hash, name: string, value: string | Buffer): void {
  const bytes = Buffer.from(value);
  hash.update(JSON.stringify([name, bytes.length])).update(bytes);
}

async function addSample(hash: Hash, file: string): Promise<void> {
  const handle = await open(file, "r");
  try {
    const { size } = await handle.stat();
    const sample = Buffer.alloc(Math.min(SAMPLE_BYTES, size));
    addField(hash, basename(file), `${size}`);
    for (let i = 0; i < SAMPLES; i++) {
      const at = Math.floor((i * (size - sample.length)) / (SAMPLES - 1));
      const { bytesRead } = await handle.read(sample, 0, sample.length, at);
      if (bytesRead < sample.length) throw new CheckpointError(file, "became shorter while read");
      hash.update(sample);
    }
  } finally {
    await handle.close();
  }
}
