import type { Logger } from "pino";
import { OutputParser, thinkingAfter } from "../../model/index.ts";
import { Load } from "../admission.ts";
import { countCalls, offeredTools, PromptWriter, type SamplingDefaults } from "../answer/index.ts";
import { TokenTally } from "../billing/index.ts";
import type { EngineDriver } from "../engine-driver.ts";
import { type ClusterView, Latencies, viewDriver } from "../status/index.ts";
import { MaskWorker, type TextWorker } from "../text/index.ts";
import type { ChatRequest } from "../wire.ts";

/** What a model is made of. */
export interface ModelParts {
  /** One at least. One that ends in `reasoner` thinks unless told not to. */
  readonly names: readonly string[];
  readonly engine: EngineDriver;
  readonly text: TextWorker;
  /** What generation_config.json recommends. */
  readonly sampling?: SamplingDefaults;
  /** The ranks that a status tells of; one that is the whole engine where nothing is given. */
  readonly cluster?: ClusterView;
  /** What computes it, as metrics tell of it. */
  readonly build?: Readonly<Record<string, string>>;
}

/** A model behind the gateway: all that a request needs once it has named it, and its counts. */
export class ServedModel {
  readonly names: readonly string[];
  readonly engine: EngineDriver;
  readonly text: TextWorker;
  readonly sampling: SamplingDefaults;
  readonly cluster: ClusterView;
  readonly build: Readonly<Record<string, string>>;
  readonly prompts: PromptWriter;
  readonly masks: MaskWorker;
  readonly load = new Load();
  readonly tally = new TokenTally();
  readonly latencies = new Latencies();

  constructor(parts: ModelParts, log: Logger) {
    const { names, engine, text, sampling = {}, cluster, build = {} } = parts;
    this.names = names;
    this.engine = engine;
    this.text = text;
    this.sampling = sampling;
    this.cluster = cluster ?? viewDriver(engine);
    this.build = build;
    this.prompts = new PromptWriter(text, engine);
    this.masks = new MaskWorker(
      { vocabulary: text.vocabulary.tables, endTokens: engine.eosTokens },
      { log },
    );
  }

  /** Among the models of a server. */
  get name(): string {
    return this.names[0];
  }

  /** Whether some unit takes requests. */
  get isReady(): boolean {
    return this.cluster.units().some(({ state }) => state === "serving");
  }

  readonly tokenBytes = (token: number) => this.text.vocabulary.tokenBytes(token);

  /** Reads what it says after this prompt. */
  parserAfter(prompt: Uint32Array, request: ChatRequest): OutputParser {
    const { vocabulary, toolCallFormat } = this.text;
    const tools = offeredTools(request);
    return new OutputParser(vocabulary, {
      ...thinkingAfter(vocabulary, prompt),
      toolCalls: tools.length > 0 ? toolCallFormat : undefined,
      tools,
      callsBefore: countCalls(request),
    });
  }
}
