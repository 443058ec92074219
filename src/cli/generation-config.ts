import { join } from "node:path";
import type { Logger } from "pino";
import { z } from "zod";
import type { SamplingDefaults } from "../gateway/index.ts";
import { parseModelJson, readIfThere } from "../model/index.ts";

/** The file's names, ours, and what a request may say too. */
const fields = [
  ["temperature", "temperature", z.number().min(0).max(2)],
  ["top_p", "topP", z.number().gt(0).max(1)],
  ["top_k", "topK", z.int().min(-1)],
  ["min_p", "minP", z.number().min(0).max(1)],
  ["repetition_penalty", "repetitionPenalty", z.number().min(0.01).max(2)],
] as const;

/**
 * What the checkpoint's generation_config.json recommends, where a request says nothing. A field that
 * makes no sense is named in the log and left out, alone.
 */
export async function samplingDefaults(directory: string, log: Logger): Promise<SamplingDefaults> {
  const file = join(directory, "generation_config.json");
  const bytes = await readIfThere(file);
  if (!bytes) return {};
  const config = z.record(z.string(), z.unknown()).safeParse(parseModelJson(bytes, file)).data;
  if (!config) {
    log.warn({ file }, "expected an object; nothing of it is used");
    return {};
  }
  if (config["do_sample"] === false) return { temperature: 0 };
  const defaults: Partial<Record<keyof SamplingDefaults, number>> = {};
  for (const [name, ours, schema] of fields) {
    const given = config[name];
    if (given === undefined || given === null) continue;
    const { success, data } = schema.safeParse(given);
    if (success) defaults[ours] = data;
    else log.warn({ file, field: name, value: given }, "the field makes no sense and is not used");
  }
  return defaults;
}
