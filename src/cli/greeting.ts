import { formatTopology } from "../cluster/index.ts";
import type { Engine } from "../engine/index.ts";
import { isLoopback } from "../gateway/index.ts";
import { createKernels, nativeProblem } from "../kernels/index.ts";
import { notice } from "./notice.ts";
import type { ServeOptions, Serving, ServingModel } from "./serving.ts";
import { describeResident } from "./weights.ts";

/** Says that a server is ready, and how to ask it: to people on stdout, to machines in the log. */
export function greet(options: ServeOptions, serving: Serving, startMs: number): void {
  const { models, url } = serving;
  if (options.logFormat === "json") {
    const engines = models.map((model) => describe(model, models)).join("; ");
    notice(`serves ${namesOf(models)} at ${url}/v1; ${engines}`);
  } else console.log(greeting(options, serving, startMs));
  if (isOpenToAll(options)) {
    options.log.warn(
      { host: options.host },
      "whoever reaches this address may use the server: there is neither --api-key nor --keys",
    );
  }
}

type Door = Pick<ServeOptions, "host" | "apiKey" | "keys">;

/** Whether others than this machine reach the server, and need no key. */
export const isOpenToAll = (options: Door): boolean =>
  !hasKey(options) && !isLoopback(options.host);

const hasKey = ({ apiKey, keys }: Pick<ServeOptions, "apiKey" | "keys">) =>
  apiKey !== undefined || keys !== undefined;

function greeting(options: ServeOptions, { models, url }: Serving, startMs: number): string {
  const { chat, curl } = hints(url, hasKey(options));
  const packed = models.flatMap(({ options: { packed: file } }) => file ?? []);
  const areResident = models.some(({ options: { weights } }) => weights === "resident");
  return (
    `DaySix serves ${namesOf(models)} at ${url}/v1  (ready in ${(startMs / 1000).toFixed(1)} s)\n` +
    models.map((model) => `  ${describe(model, models)}\n`).join("") +
    [...new Set(packed)].map((file) => `  weights packed in ${file}\n`).join("") +
    (areResident ? `  ${describeResident()}\n` : "") +
    `  ${options.ledger === undefined ? "nothing is billed: no --ledger" : `bills in ${options.ledger}`}\n` +
    `  watch it at ${url}/\n` +
    `  try:  ${chat}    or    ${curl}`
  );
}

type Models = readonly ServingModel[];

const namesOf = (models: Models) => models.flatMap(({ names }) => names).join(", ");

/** Of several models which one it is. */
const describe = (model: ServingModel, models: Models) =>
  `${models.length > 1 ? `${model.names.join(", ")}: ` : ""}${describeEngine(model)}`;

/** Where a server listens that nobody has told where. */
const DEFAULT_URL = "http://127.0.0.1:8000";

/** Commands that ask the server, and never the key itself. */
export function hints(url: string, needsKey: boolean): { chat: string; curl: string } {
  const key = needsKey ? "DAYSIX_API_KEY=… " : "";
  const header = needsKey ? `-H "authorization: Bearer …" ` : "";
  const at = url === DEFAULT_URL ? "" : ` --url ${url}`;
  return { chat: `${key}npx daysix chat${at}`, curl: `curl ${header}${url}/v1/models` };
}

function describeEngine({ options, engine }: ServingModel): string {
  const { policy } = options;
  const limitedBy = engine.limitedBy ? ` (${engine.limitedBy})` : "";
  const kernels = kernelsOf();
  return (
    `${formatTopology(engine.topology)}${onNodes(engine)}, policy ${policy}, ` +
    (kernels === "reference"
      ? `reference kernels (${nativeProblem() ?? "as asked"}), `
      : `native kernels (${kernels}), `) +
    `context ${engine.maxModelLen} tokens${limitedBy}`
  );
}

/** The instruction set of the native kernels, or `reference`. */
export function kernelsOf(): string {
  const { name, instructionSet } = createKernels();
  return name === "reference" ? name : instructionSet;
}

function onNodes({ nodeOfRank }: Engine): string {
  const nodes = new Set(nodeOfRank).size;
  return nodes === 1 ? "" : ` on ${nodes} nodes`;
}

/** Where this machine reaches a server: one that listens everywhere also at its own address. */
export function urlOf(host: string, port: number): string {
  const reached = { "0.0.0.0": "127.0.0.1", "::": "::1" }[host] ?? host;
  return `http://${reached.includes(":") ? `[${reached}]` : reached}:${port}`;
}
