import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GenerationRequest, TimedEvent } from "../../engine/index.ts";
import { Tokenizer } from "../../model/index.ts";
import { writeTinyTokenizer } from "../../model/text/tokenizer-fixtures.ts";
import type { ModelParts } from "../models/index.ts";
import { TextWorker } from "../text/index.ts";
import { Gateway } from "./gateway.ts";
import type { GatewayOptions } from "./gateway-options.ts";
import { serveGateway } from "./serve.ts";

const CONTEXT = 4096;

/** A server before an engine that says what a script tells it, one text a request. */
export interface ScriptedServer {
  readonly url: string;
  /** Prompts as they came, markers written out. */
  readonly prompts: readonly string[];
  /** What the next requests are answered with; `undefined` is a token that never comes. */
  say(...texts: readonly (string | undefined)[]): void;
  close(): Promise<void>;
}

/** Starts one on the tiny tokenizer, whose template is V3.1's. */
export async function startScriptedServer({
  cluster,
  ...options
}: Partial<GatewayOptions> & Pick<ModelParts, "cluster"> = {}): Promise<ScriptedServer> {
  const directory = await mkdtemp(join(tmpdir(), "daysix-scripted-"));
  await writeTinyTokenizer(directory);
  const tokenizer = await Tokenizer.load(directory);
  const text = await TextWorker.start(directory);
  const script: (string | undefined)[] = [];
  const prompts: string[] = [];
  const eos = tokenizer.eos ?? -1;

  async function* generate(
    { prompt, maxTokens }: GenerationRequest,
    signal?: AbortSignal,
  ): AsyncGenerator<TimedEvent> {
    prompts.push(tokenizer.decode([...prompt]));
    const said = script.shift();
    yield { kind: "started", hitTokens: 0, time: 0 };
    if (said === undefined) {
      await new Promise((_, reject) => signal?.addEventListener("abort", reject));
      return;
    }
    const tokens = [...tokenizer.encode(said, { specials: true }), eos].slice(0, maxTokens);
    for (const token of tokens) {
      yield { kind: "token", token, logprob: -1, top: [], proposed: false, refuted: 0, time: 0 };
    }
    yield { kind: "finished", reason: tokens.at(-1) === eos ? "stop" : "length", time: 0 };
  }

  const engine = {
    ...{ maxModelLen: CONTEXT, vocabSize: tokenizer.vocabSize, eosTokens: [eos], generate },
    stats: () => Promise.reject(new Error("no statistics")),
  };
  const model = { engine, text, names: ["calf"], ...(cluster && { cluster }) };
  const gateway = new Gateway({ models: [model], ...options });
  const running = await serveGateway(gateway, { host: "127.0.0.1", port: 0 });
  return {
    url: `http://127.0.0.1:${running.address.port}`,
    prompts,
    say: (...texts) => script.push(...texts),
    async close() {
      await running.close();
      await text.close();
      await rm(directory, { recursive: true });
    },
  };
}
