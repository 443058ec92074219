import type { Kernels, Policy } from "../../kernels/index.ts";
import {
  argmax,
  loadChatTemplate,
  loadModel,
  SingleSequence,
  Tokenizer,
  type Model,
} from "../../model/index.ts";
import type { Sum } from "./sums.ts";

/** What a model's answers are measured on. */
export interface AccuracyTask {
  readonly text: string;
  readonly sums: readonly Sum[];
}

export interface ModelAccuracy {
  /** Of the text's bytes. */
  readonly bitsPerByte: number;
  /** The likeliest token after each of the text's tokens. */
  readonly likeliest: readonly number[];
  readonly exactAnswers: number;
}

/** Tokens that see each other, as in calf's training. */
const WINDOW_TOKENS = 256;
const ANSWER_TOKENS = 160;

/** Measures a checkpoint of calf under a policy. */
export async function measureAccuracy(
  directory: string,
  { kernels, policy }: { readonly kernels: Kernels; readonly policy: Policy },
  { text, sums }: AccuracyTask,
): Promise<ModelAccuracy> {
  const tokenizer = await Tokenizer.load(directory);
  const template = await loadChatTemplate(directory, tokenizer);
  const model = await loadModel(directory, { kernels, policy, maxRows: WINDOW_TOKENS });
  const told = await readText(model, tokenizer, text);
  let exactAnswers = 0;
  for (const sum of sums) {
    const prompt = template.render([{ role: "user", content: sum.text }], { thinking: true });
    const [, said] = tokenizer.decode(await answer(model, prompt)).split("</think>");
    if (said === sum.answer) exactAnswers++;
  }
  return { ...told, exactAnswers };
}

/** How well a model foresees a text, a window at a time. */
async function readText(model: Model, tokenizer: Tokenizer, text: string) {
  const { vocabSize } = model.config;
  const tokens = tokenizer.encode(text, { specials: false });
  const likeliest: number[] = [];
  let bits = 0;
  for (let from = 0; from < tokens.length; from += WINDOW_TOKENS - 1) {
    const window = tokens.slice(from, from + WINDOW_TOKENS - 1);
    const context = [tokenizer.bos ?? 0, ...window.slice(0, -1)];
    const logits = await new SingleSequence(model, WINDOW_TOKENS).append(context);
    for (const [i, token] of window.entries()) {
      const row = logits.subarray(i * vocabSize, (i + 1) * vocabSize);
      likeliest.push(argmax(row));
      bits += surprise(row, token);
    }
  }
  return { bitsPerByte: bits / Buffer.byteLength(text), likeliest };
}

/** −log2 of a token's probability. */
function surprise(logits: Float32Array, token: number): number {
  const largest = logits[argmax(logits)];
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  return Math.log2(sum) - (logits[token] - largest) / Math.LN2;
}

/** The likeliest tokens, up to the end of the answer. */
async function answer(model: Model, prompt: readonly number[]): Promise<number[]> {
  const { vocabSize, eosTokens } = model.config;
  const sequence = new SingleSequence(model, prompt.length + ANSWER_TOKENS);
  const tokens: number[] = [];
  let next = [...prompt];
  while (tokens.length < ANSWER_TOKENS) {
    const logits = await sequence.append(next);
    const token = argmax(logits.subarray(-vocabSize));
    if (eosTokens.includes(token)) break;
    tokens.push(token);
    next = [token];
  }
  return tokens;
}
