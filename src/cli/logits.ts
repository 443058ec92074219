import { createKernels, type Policy } from "../kernels/index.ts";
import { argmax, loadModel, SingleSequence } from "../model/index.ts";

const CHUNK_ROWS = 256;

/** `daysix logits`: every position's likeliest token and the last position's logits. */
export async function printLogits(options: {
  readonly directory: string;
  readonly tokens: readonly number[];
  readonly policy: Policy;
  readonly json: boolean;
}): Promise<void> {
  const { directory, tokens, policy } = options;
  const kernels = createKernels();
  const maxRows = Math.min(CHUNK_ROWS, tokens.length);
  const model = await loadModel(directory, { kernels, policy, maxRows });
  const { vocabSize } = model.config;
  const sequence = new SingleSequence(model, tokens.length);
  const best: number[] = [];
  let last: Float32Array = new Float32Array(0);
  for (let at = 0; at < tokens.length; at += maxRows) {
    const logits = await sequence.append(tokens.slice(at, at + maxRows));
    for (let row = 0; row < logits.length; row += vocabSize) {
      last = logits.subarray(row, row + vocabSize);
      best.push(argmax(last));
    }
  }
  if (options.json) {
    console.log(JSON.stringify({ argmax: best, lastLogits: [...last] }));
    return;
  }
  console.log(`likeliest next token at each position: ${best.join(" ")}`);
  const top = [...last.keys()].sort((a, b) => last[b] - last[a]).slice(0, 10);
  for (const token of top) console.log(`${String(token).padStart(8)}  ${last[token].toFixed(4)}`);
}
