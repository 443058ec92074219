import { readFile } from "node:fs/promises";
import { z } from "zod";

/** A request of a Mooncake trace (FAST'25): its prompt as blocks that mean equal content when equal. */
export interface TraceRequest {
  /** Milliseconds since the trace's start. */
  readonly at: number;
  /** Identifiers of the prompt's 512-token blocks, in order. */
  readonly blocks: readonly number[];
  /** Tokens of the prompt, of which the last block holds the rest, and of the answer. */
  readonly promptTokens: number;
  readonly answerTokens: number;
}

const lineSchema = z.looseObject({
  timestamp: z.number().nonnegative(),
  hash_ids: z.array(z.int().nonnegative()).min(1),
  input_length: z.int().positive(),
  output_length: z.int().nonnegative(),
});

/** @throws Error naming the file and line that is no request */
export async function readMooncakeTrace(file: string): Promise<TraceRequest[]> {
  const lines = (await readFile(file, "utf8")).trimEnd().split("\n");
  return lines.map((line, i) => {
    const parsed = lineSchema.safeParse(jsonOf(line));
    if (!parsed.success) throw new Error(`${file}: line ${i + 1} is not a request`);
    const { timestamp, hash_ids, input_length, output_length } = parsed.data;
    return {
      at: timestamp,
      blocks: hash_ids,
      promptTokens: input_length,
      answerTokens: output_length,
    };
  });
}

function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
