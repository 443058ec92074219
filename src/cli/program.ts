import { cac } from "cac";
import {
  integerOf,
  numberOf,
  oneOf,
  policyHelp,
  policyOf,
  present,
  textIf,
  textOf,
  tokensOf,
  UsageError,
} from "./arguments.ts";
import { expertPolicies } from "../balancing/index.ts";
import { version } from "../engine/index.ts";
import { runBenchKernels, withBenchKernels } from "./bench-kernels.ts";
import { runBenchModel, withBenchModel } from "./bench-model.ts";
import { runBenchServe, withBenchServe } from "./bench-serve.ts";
import { runChat, withChat } from "./chat/index.ts";
import { bundledModel } from "./bundled-model.ts";
import { runDoctor, withDoctor } from "./doctor.ts";
import { runDualPipe, withDualPipe } from "./dualpipe.ts";
import { runLadder, withLadder } from "./ladder.ts";
import { engineOf, withEngine } from "./engine-options.ts";
import { generate } from "./generate.ts";
import { inspect } from "./inspect.ts";
import { modelFolderOf } from "./model-folder.ts";
import { printLogits } from "./logits.ts";
import { runNode, withNode } from "./node.ts";
import { timeoutOf } from "./node-options.ts";
import { int4Groups, quantizedFormats } from "../model/index.ts";
import { pull } from "./pull.ts";
import { quantize } from "./quantize.ts";
import { rebalance, rebalanceServer } from "./rebalance.ts";
import { report, reportDefaults, reportPublishedDay } from "./report.ts";
import { scale, wantedOf } from "./scale.ts";
import { runServe, withServe } from "./serve-options.ts";
import { serverOf } from "./server.ts";
import { printTrace } from "./trace.ts";

/** Every command of `daysix`, with its options. */
export const program = cac("daysix");

withServe(program.command("serve", "Serve a model through an OpenAI-compatible API")).action(
  runServe,
);

withNode(program.command("node", "Compute for a server on another machine")).action(runNode);

withChat(program.command("chat [question]", "Talk to a running server")).action(runChat);

withEngine(program.command("generate", "Continue a text or tokens, without a server"))
  .option("--prompt <text>", "Text to continue")
  .option("--tokens <ids>", "Token ids to continue: 1,2,3")
  .option("--max-tokens <count>", "Tokens to generate", { default: 64 })
  .option("--temperature <t>", "0 is greedy", { default: 0 })
  .option("--seed <seed>", "Seed of the sampling")
  .option("--trace <file>", "Write a Chrome trace of every step, for Perfetto or daysix trace")
  .option("--json", "Print tokens, logprobs and text as JSON")
  .action(async (flags: Record<string, unknown>) =>
    generate({
      maxTokens: integerOf("max-tokens", flags["maxTokens"], 1, 2 ** 31 - 1),
      temperature: numberOf("temperature", flags["temperature"], 0, 100),
      json: flags["json"] === true,
      ...present({ prompt: textIf(flags, "prompt"), trace: textIf(flags, "trace") }),
      ...(flags["tokens"] !== undefined && { tokens: tokensOf(flags["tokens"]) }),
      ...(flags["seed"] !== undefined && {
        seed: integerOf("seed", flags["seed"], 0, Number.MAX_SAFE_INTEGER),
      }),
      engine: await engineOf(flags),
    }),
  );

program
  .command("report", "Tell a ledger's statistics, cost and income")
  .option("--ledger <file>", "What `serve --ledger` wrote")
  .option("--since <time>", "Requests completed from here on, ISO 8601")
  .option("--until <time>", "Requests completed before, ISO 8601")
  .option("--accelerator-hour <dollars>", "Cost of an accelerator for an hour", {
    default: reportDefaults.acceleratorHour,
  })
  .option("--prices <file>", "Price book of the theoretical income")
  .option("--price-model <name>", "Model in whose price theoretical income is reckoned", {
    default: reportDefaults.priceModel,
  })
  .option("--published-day", "The day DeepSeek published, instead of a ledger")
  .option("--json", "Print JSON")
  .action((flags: Record<string, unknown>) => {
    const tell = flags["publishedDay"] === true ? reportPublishedDay : report;
    return tell({
      ...present({ ledger: textIf(flags, "ledger"), prices: textIf(flags, "prices") }),
      ...present({ since: textIf(flags, "since"), until: textIf(flags, "until") }),
      acceleratorHour: textOf("accelerator-hour", flags["acceleratorHour"]),
      priceModel: textOf("price-model", flags["priceModel"]),
      json: flags["json"] === true,
    });
  });

program
  .command("logits", "Print a prompt's logits, to compare implementations")
  .option("--model <dir>", "Checkpoint folder", { default: bundledModel })
  .option("--tokens <ids>", "Token ids: 1,2,3")
  .option("--policy <policy>", policyHelp, { default: "f32" })
  .option("--json", "Print argmax and lastLogits as JSON")
  .action(async (flags: Record<string, unknown>) => {
    if (flags["tokens"] === undefined) throw new UsageError("--tokens: give token ids as 1,2,3");
    return printLogits({
      directory: await modelFolderOf(textOf("model", flags["model"])),
      tokens: tokensOf(flags["tokens"]),
      policy: policyOf(flags["policy"]),
      json: flags["json"] === true,
    });
  });

program
  .command("pull <model>", "Download org/name[@revision] into the cache of Hugging Face's tools")
  .action(pull);

program
  .command("inspect <dir>", "Show what a checkpoint holds and whether it fits")
  .option("--verify", "Read every tensor and look for values that are not numbers")
  .option("--json", "Print JSON")
  .action(async (model: string, flags: Record<string, unknown>) => {
    const directory = await modelFolderOf(model);
    await inspect({ directory, verify: flags["verify"] === true, json: flags["json"] === true });
  });

program
  .command("quantize <dir> <target>", "Write a BF16, F32 or FP8 checkpoint again in fewer bits")
  .option("--to <format>", `Linear weights: ${quantizedFormats.join(", ")}`, { default: "fp8" })
  .option("--group <inputs>", `Inputs of int4 that share a scale: ${int4Groups.join(" or ")}`)
  .option("--scales <format>", "Scales of fp8: f32, or ue8m0 (powers of two)")
  .action(quantize);

program
  .command("trace <file>", "Show where a trace's time went and what hid communication")
  .option("--json", "Print JSON; times in microseconds")
  .action((file: string, flags: Record<string, unknown>) =>
    printTrace({ file, json: flags["json"] === true }),
  );

program
  .command("rebalance", "Place experts and their replicas for recorded loads")
  .option("--loads <file>", "JSON: [[load of each logical expert], …], one list a layer")
  .option("--replicas <count>", "Physical experts of a layer, over all ranks")
  .option("--groups <count>", "Groups of experts that routing keeps or drops whole", { default: 1 })
  .option("--nodes <count>", "Nodes of the unit", { default: 1 })
  .option("--ranks <count>", "Ranks of the unit, over all nodes")
  .option("--policy <policy>", `Placement policy: ${expertPolicies.join(", ")}`, {
    default: "eplb",
  })
  .option(
    "--current <file>",
    "A placement from before, as --json prints it: best moves few of its experts",
  )
  .option("--url <url>", "Instead: a running server places its experts for its own loads")
  .option("--api-key <key>", "Key of the server")
  .option("--model <name>", "With --url: whose experts, where several models are served")
  .option("--json", "Print the placement as JSON")
  .action(async (flags: Record<string, unknown>) => {
    const json = flags["json"] === true;
    if (flags["url"] !== undefined) {
      return rebalanceServer({
        ...(await serverOf(flags)),
        model: textIf(flags, "model"),
        json,
      });
    }
    for (const name of ["loads", "replicas", "ranks"]) {
      if (flags[name] === undefined) throw new UsageError(`--${name} is required`);
    }
    const countOf = (name: string) => integerOf(name, flags[name], 1, 65536);
    return rebalance({
      file: textOf("loads", flags["loads"]),
      topology: {
        replicas: countOf("replicas"),
        groups: countOf("groups"),
        nodes: countOf("nodes"),
        ranks: countOf("ranks"),
      },
      policy: oneOf("policy", flags["policy"], expertPolicies),
      ...present({ current: textIf(flags, "current") }),
      json,
    });
  });

program
  .command("scale <units>", "Have a running server start or drain units: prefill=1,decode=2")
  .option("--url <url>", "Server", { default: "http://127.0.0.1:8000" })
  .option("--api-key <key>", "Key of the server")
  .option("--model <name>", "Whose units, where several models are served")
  .option("--timeout <time>", "How long it waits for the units to serve", { default: "15m" })
  .option("--json", "Print JSON")
  .action(async (units: string, flags: Record<string, unknown>) => {
    const timeoutMs = timeoutOf("timeout", flags["timeout"]);
    const wanted = wantedOf(units);
    const about = { wanted, model: textIf(flags, "model"), timeoutMs };
    await scale({ server: await serverOf(flags), ...about, json: flags["json"] === true });
  });

withLadder(
  program.command("ladder", "Measure DeepSeek's ideas one on top of the other, on one load"),
).action(runLadder);

withDualPipe(
  program.command("dualpipe", "Show DualPipe's schedule, and what it costs beside others"),
).action(runDualPipe);

withDoctor(
  program.command("doctor", "Tell what this machine has for the kernels, and what to change"),
).action(runDoctor);

withBenchKernels(
  program.command("bench kernels", "Measure matmuls and attention beside this machine's roofs"),
).action(runBenchKernels);

withBenchModel(
  program.command("bench model", "Measure a model's shape on this machine, on random weights"),
).action(runBenchModel);

withBenchServe(
  program.command("bench serve", "Measure any OpenAI-compatible server under load"),
).action(runBenchServe);

program.help();
program.version(version);
