import { randomInt } from "node:crypto";
import { Engine, greedySampling, type EngineOptions } from "../engine/index.ts";
import { dispatchedRows, type DispatchedRows } from "../expert-parallel/index.ts";
import { Detokenizer, hasTokenizer, Tokenizer } from "../model/index.ts";
import { UsageError } from "./arguments.ts";
import { createTrace } from "./trace.ts";

export interface GenerateOptions {
  readonly engine: EngineOptions;
  readonly prompt?: string;
  readonly tokens?: readonly number[];
  readonly maxTokens: number;
  readonly temperature: number;
  readonly seed?: number;
  readonly json: boolean;
  /** File for a trace of the run. */
  readonly trace?: string;
}

/** `daysix generate`: one continuation of a text or of token ids, without a server. */
export async function generate(options: GenerateOptions): Promise<void> {
  const directory = options.engine.modelDirectory;
  const tokenizer = (await hasTokenizer(directory)) ? await Tokenizer.load(directory) : undefined;
  const prompt = options.tokens ?? encodePrompt(options, tokenizer);
  const text = tokenizer && new Detokenizer(tokenizer);
  const trace = await createTrace(options.trace);
  const engine = await Engine.start(
    { ...options.engine, ...(tokenizer ? { usableTokens: tokenizer.vocabSize } : {}) },
    { trace },
  );
  let rows: DispatchedRows | undefined;
  const tokens: number[] = [];
  const logprobs: number[] = [];
  let written = "";
  const write = (part: string) => {
    written += part;
    if (!options.json) process.stdout.write(part);
  };
  try {
    for await (const event of engine.generate({
      id: "generate",
      tenant: "",
      prompt,
      choice: 0,
      maxTokens: options.maxTokens,
      stopTokens: engine.eosTokens,
      topLogprobs: 0,
      sampling: {
        ...greedySampling,
        temperature: options.temperature,
        seed: options.seed ?? randomInt(2 ** 32),
      },
    })) {
      if (event.kind === "failed") throw new UsageError(event.message);
      if (event.kind !== "token") continue;
      tokens.push(event.token);
      logprobs.push(event.logprob ?? Number.NaN);
      if (!text) write(`${event.token} `);
      else if (!engine.eosTokens.includes(event.token)) write(text.push(event.token));
    }
    const stats = await engine.rankStats();
    const traffic = stats.map((rank) => rank.traffic);
    rows = dispatchedRows(engine.topology, engine.nodeOfRank, traffic);
  } finally {
    await engine.close();
    await trace?.close();
  }
  if (text) write(text.end());
  if (options.json) {
    console.log(JSON.stringify({ tokens, logprobs, text: text ? written : null, rows }));
  } else {
    process.stdout.write("\n");
  }
}

function encodePrompt(options: GenerateOptions, tokenizer: Tokenizer | undefined): number[] {
  if (options.prompt === undefined) throw new UsageError("give --prompt TEXT or --tokens 1,2,3");
  if (!tokenizer) {
    throw new UsageError(`${options.engine.modelDirectory} has no tokenizer: give --tokens 1,2,3`);
  }
  return tokenizer.encodePrompt(options.prompt);
}
