import { fileURLToPath } from "node:url";
import { createKernels } from "../../kernels/index.ts";
import { modelIdentity } from "../checkpoint/index.ts";
import { PackedFile, type PackedFor } from "./packed-file.ts";

/** As on vectors, which like strips of everything. */
export const onVectors: PackedFor = {
  kernels: { ...createKernels(), stripDtypes: () => ["F8_E4M3", "BF16", "I8", "I4"] },
  policy: "int8",
};

export function packedOf(directory: string, folder: string, kernels = onVectors) {
  return PackedFile.of(directory, folder, kernels, () => modelIdentity(directory, "sample"));
}

/** As a program: packs a checkpoint into a folder, and kills itself in the middle if told so. */
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , directory, folder, kill] = process.argv;
  const file = await packedOf(directory, folder);
  await file?.write(() => {
    if (kill) process.kill(process.pid, "SIGKILL");
  });
  process.exit(0);
}
