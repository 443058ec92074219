import { operandFormat, type Policy } from "../../kernels/index.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { readConfig } from "./config.ts";
import { storedDtype } from "./stored-weight.ts";

/**
 * The policy under which a checkpoint is served unless another is asked for: `int8` where weights are
 * integers, which is what multiplies them fastest and loses little beside what rounding them lost;
 * else `w8a16`, which loses nothing beside float32 that tokens show.
 */
export async function defaultPolicy(directory: string): Promise<Policy> {
  const { quantization } = await readConfig(directory);
  for (const entry of (await openCheckpoint(directory, quantization)).tensors()) {
    const dtype = storedDtype(entry);
    if (dtype && operandFormat("int8", dtype) === "int8") return "int8";
  }
  return "w8a16";
}
