import type { Command } from "cac";
import { otlpEndpoint, reasoningFields } from "../gateway/index.ts";
import { balancesItself } from "./auto-balance.ts";
import { apiKeyOf } from "./api-key.ts";
import { integerOf, namesOf, oneOf, present, textIf, textOf } from "./arguments.ts";
import { withEngine } from "./engine-options.ts";
import { keysOf } from "./keyring.ts";
import { openLog, withLog } from "./log.ts";
import { serve } from "./serve.ts";
import { modelsOf, servedModelsHelp } from "./served-models.ts";

const largestPort = 65_535;

/** Adds the options of `daysix serve`. */
export function withServe(command: Command): Command {
  return withLog(withEngine(command, servedModelsHelp))
    .option("--host <host>", "Address to listen on", { default: "127.0.0.1" })
    .option("--port <port>", "Port to listen on; 0 takes a free one", { default: 8000 })
    .option("--api-key <key>", "Key that clients must send; or in DAYSIX_API_KEY")
    .option("--api-key-file <file>", "File that has the key")
    .option("--keys <file>", "File of keys with names and limits, beside that key or instead")
    .option(
      "--allowed-origins <origins>",
      "Whose pages may read answers, separated by commas; or *",
    )
    .option("--allowed-hosts <names>", "Names of this server that are answered without a key")
    .option("--strict", "Refuse fields that nobody knows")
    .option("--served-model-name <names>", "Names to serve under, separated by commas")
    .option("--max-model-len <tokens>", "Shorten the context")
    .option("--chat-template <file>", "Chat template in Jinja, instead of the checkpoint's own")
    .option("--reasoning-field <name>", "Where thoughts are told: reasoning_content or reasoning", {
      default: "reasoning_content",
    })
    .option("--ledger <file>", "Bill every request in this file; without it nothing is billed")
    .option("--prices <file>", "Price book of the bills; DeepSeek's R1 where none is given")
    .option("--otlp <url>", "Send traces of requests to this OpenTelemetry collector, over HTTP")
    .option(
      "--rebalance <when>",
      "auto: units move experts where that pays for their loads; or off",
      { default: "auto" },
    )
    .option(
      "--scale-schedule <file>",
      "Units start and drain by the clock: 08:30 prefill=3,decode=2",
    )
    .option(
      "--scale-policy <policy>",
      "Units start and drain with the load: load,prefill=TOKENS,decode=TOKENS a second that a unit is aimed at; min=, max= units of a kind, every=, patience=, slack=",
    )
    .option("--trace <file>", "Write a Chrome trace of every step, for Perfetto or daysix trace");
}

type Flags = Readonly<Record<string, unknown>>;

export async function runServe(flags: Flags): Promise<never> {
  const { log, format } = openLog(flags);
  const apiKey = await apiKeyOf(flags, process);
  return serve({
    host: textOf("host", flags["host"]),
    port: integerOf("port", flags["port"], 0, largestPort),
    ...{ log, logFormat: format },
    otlp: otlpEndpoint(textIf(flags, "otlp"), process.env),
    reasoningField: oneOf("reasoning-field", flags["reasoningField"], reasoningFields),
    balancesItself: balancesItself(flags),
    edge: {
      allowedOrigins: namesOf("allowed-origins", flags["allowedOrigins"]),
      allowedHosts: namesOf("allowed-hosts", flags["allowedHosts"]),
      strict: flags["strict"] === true,
    },
    ...present({
      apiKey,
      keys: await keysOf(flags),
      ledger: textIf(flags, "ledger"),
      prices: textIf(flags, "prices"),
      trace: textIf(flags, "trace"),
    }),
    models: await modelsOf(flags),
  });
}
