import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Engine, type EngineOptions } from "../../engine/index.ts";
import { fixtureDirectory } from "../../model/fixtures.ts";
import { writeTinyTokenizer } from "../../model/text/tokenizer-fixtures.ts";
import { TextWorker } from "../text/index.ts";
import { Gateway } from "./gateway.ts";
import type { GatewayOptions } from "./gateway-options.ts";
import { serveGateway, type RunningServer } from "./serve.ts";

/** Longer than any request of the tests that is answered, shorter than any that is refused. */
const CONTEXT = 640;
const KV_MEMORY_BYTES = 16 * 2 ** 20;
const SERVED_NAMES = ["deepseek-v3", "deepseek-reasoner", "calf", "org/calf"];
const IDLE_WITHIN_MS = 10_000;

/** A whole server on a free port of this machine: gateway, engine thread, random weights. */
export interface TinyServer {
  readonly url: string;
  readonly engine: Engine;
  readonly running: RunningServer;
  /** Answers without a socket, which may hold much of an answer that nobody reads. */
  readonly app: Gateway["app"];
  /** Posts JSON. */
  fetch(path: string, body: object): Promise<Response>;
  /** Posts JSON and gives the answer's; throws unless the status is 200. */
  // oxlint-disable-next-line typescript/no-explicit-any -- each test knows what it asked for
  post(path: string, body: object): Promise<any>;
  /** Resolves when the engine holds no request and no page; throws if that takes too long. */
  untilIdle(): Promise<void>;
  close(): Promise<void>;
}

/** Starts a server on the `v3` parity checkpoint with a byte-level tokenizer. */
export async function startTinyServer(
  options: Partial<GatewayOptions> = {},
  context = CONTEXT,
  { speculate = false }: Pick<EngineOptions, "speculate"> = {},
): Promise<TinyServer> {
  const directory = await tinyCheckpoint(context);
  const text = await TextWorker.start(directory);
  const engine = await Engine.start({
    modelDirectory: directory,
    policy: "w8a16",
    ...{ kvMemoryBytes: KV_MEMORY_BYTES, speculate },
    usableTokens: text.vocabulary.vocabSize,
  });
  const gateway = new Gateway({ models: [{ engine, text, names: SERVED_NAMES }], ...options });
  const running = await serveGateway(gateway, { host: "127.0.0.1", port: 0 });
  const url = `http://127.0.0.1:${running.address.port}`;
  const send = (path: string, body: object) =>
    fetch(url + path, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(options.apiKey === undefined ? {} : { authorization: `Bearer ${options.apiKey}` }),
      },
      body: JSON.stringify(body),
    });
  return {
    url,
    engine,
    running,
    app: gateway.app,
    fetch: send,
    async post(path, body) {
      const response = await send(path, body);
      if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
      return response.json();
    },
    untilIdle: () => untilIdle(engine),
    async close() {
      await running.close();
      await engine.close();
      await text.close();
      await rm(directory, { recursive: true });
    },
  };
}

/** The checkpoint whose weights have a vocabulary that the tiny tokenizer fits. */
export async function tinyCheckpoint(context = CONTEXT): Promise<string> {
  const weights = fixtureDirectory("tiny/v3");
  if (!weights) throw new Error("fixtures/tiny/v3 is not here");
  const directory = await mkdtemp(join(tmpdir(), "daysix-server-"));
  const config = JSON.parse(await readFile(join(weights, "config.json"), "utf8")) as object;
  const longer = { ...config, max_position_embeddings: context };
  await writeFile(join(directory, "config.json"), JSON.stringify(longer));
  await copyFile(join(weights, "model.safetensors"), join(directory, "model.safetensors"));
  await writeTinyTokenizer(directory);
  return directory;
}

async function untilIdle(engine: Engine): Promise<void> {
  const deadline = Date.now() + IDLE_WITHIN_MS;
  for (;;) {
    const { waiting, running, pagesInUse } = await engine.stats();
    if (waiting + running + pagesInUse === 0) return;
    if (Date.now() > deadline) {
      throw new Error(`still ${waiting} waiting, ${running} running, ${pagesInUse} pages in use`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
