/** Request traces for the tests: Mooncake's as recorded, ServeGen's drawn from its distributions. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export interface TraceRequest {
  readonly arrivalSeconds: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Ids of the prompt's blocks of `BLOCK_TOKENS`; equal ids at equal places are equal prefixes. */
  readonly blocks: readonly number[];
}

/** Mooncake's. */
export const BLOCK_TOKENS = 512;

const data = fileURLToPath(new URL("../../../../shared/data", import.meta.url));
const mooncakeFile = `${data}/mooncake/conversation_trace_0-29min.jsonl`;
const serveGenFolder = `${data}/servegen/data/reason/deepseek-r1`;

/** The first requests of a conversation service, or undefined where the data is not here. */
export function mooncakeTrace(count: number): TraceRequest[] | undefined {
  if (!existsSync(mooncakeFile)) return undefined;
  const lines = readFileSync(mooncakeFile, "utf8").trimEnd().split("\n", count);
  return lines.map((line) => {
    const row = JSON.parse(line) as {
      timestamp: number;
      input_length: number;
      output_length: number;
      hash_ids: number[];
    };
    return {
      arrivalSeconds: row.timestamp / 1000,
      promptTokens: row.input_length,
      outputTokens: row.output_length,
      blocks: row.hash_ids,
    };
  });
}

/**
 * The first requests of a DeepSeek-R1 service's busiest ten minutes, or undefined where the data is
 * not here: each client's Poisson arrivals at its rate, with lengths from its distributions, seeded.
 */
export function serveGenTrace(count: number): TraceRequest[] | undefined {
  if (!existsSync(serveGenFolder)) return undefined;
  const random = generator(1);
  const requests: TraceRequest[] = [];
  for (const client of serveGenClients()) {
    const gap = () => -Math.log1p(-random()) / client.requestsPerSecond;
    for (let time = gap(); time < WINDOW_SECONDS; time += gap()) {
      requests.push({
        arrivalSeconds: time,
        promptTokens: draw(client.promptTokens, random()),
        outputTokens: draw(client.outputTokens, random()),
        blocks: [],
      });
    }
  }
  return requests.sort((a, b) => a.arrivalSeconds - b.arrivalSeconds).slice(0, count);
}

/** ServeGen's rates hold for ten minutes, its lengths for six hours; this is ten past ten at night. */
const WINDOW_SECONDS = 600;
const BUSIEST_WINDOW = 133;
const BUSIEST_LENGTHS = "64800";

interface Client {
  readonly requestsPerSecond: number;
  readonly promptTokens: Distribution;
  readonly outputTokens: Distribution;
}

/** Token counts with the chance of this count or a smaller one, ascending. */
type Distribution = readonly (readonly [tokens: number, cumulative: number])[];

function serveGenClients(): Client[] {
  const read = (file: string) => readFileSync(`${serveGenFolder}/${file}`, "utf8");
  const clients: Client[] = [];
  const files = readdirSync(serveGenFolder).sort();
  for (const rates of files.filter((file) => file.endsWith("-trace.csv"))) {
    const requestsPerSecond = Number(read(rates).split("\n")[BUSIEST_WINDOW].split(",")[1]);
    if (requestsPerSecond === 0) continue;
    const lengths = JSON.parse(read(rates.replace("-trace.csv", "-dataset.json"))) as Record<
      string,
      { readonly input_tokens: string; readonly output_tokens: string }
    >;
    const { input_tokens, output_tokens } = lengths[BUSIEST_LENGTHS];
    clients.push({
      requestsPerSecond,
      promptTokens: distribution(input_tokens),
      outputTokens: distribution(output_tokens),
    });
  }
  return clients;
}

/** Reads `{tokens: probability, …}`. */
function distribution(text: string): Distribution {
  let cumulative = 0;
  return [...text.matchAll(/(\d+): ([\d.e-]+)/g)].map(([, tokens, probability]) => {
    cumulative += Number(probability);
    return [Number(tokens), cumulative] as const;
  });
}

function draw(from: Distribution, random: number): number {
  const target = random * from[from.length - 1][1];
  return from.find(([, cumulative]) => cumulative > target)?.[0] ?? from[from.length - 1][0];
}

/** Numbers from 0 to 1, without 1, the same for the same seed (Park and Miller). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48271) % 2147483647;
    return (state - 1) / 2147483646;
  };
}
