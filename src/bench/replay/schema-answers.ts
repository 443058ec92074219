#!/usr/bin/env node
/**
 * `npm run soak:schemas -- [answers]`: whether every answer that is held to a schema parses and is valid,
 * as Ajv has it: calf's at temperature 1.5, so many under each of fifty schemas, 32 at a time. What
 * max_tokens cuts is counted apart.
 */
import { fileURLToPath } from "node:url";
import { Ajv2020 } from "ajv/dist/2020.js";
import { Engine } from "../../engine/index.ts";
import { Gateway, serveGateway, TextWorker } from "../../gateway/index.ts";
import { answerSchemas } from "./answer-schemas.ts";

const [answers = "8"] = process.argv.slice(2);
const STREAMS = 32;

const modelDirectory = fileURLToPath(new URL("../../../models/calf", import.meta.url));
const text = await TextWorker.start(modelDirectory);
const engine = await Engine.start({ modelDirectory, policy: "w8a16", kvMemoryBytes: 2 ** 29 });
const gateway = new Gateway({ models: [{ engine, text, names: ["calf"] }] });
const server = await serveGateway(gateway, { host: "127.0.0.1", port: 0 });

async function ask(schema: object, seed: number) {
  const response = await fetch(`http://127.0.0.1:${server.address.port}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      ...{ model: "calf", temperature: 1.5, seed, max_tokens: 2000 },
      messages: [{ role: "user", content: "What is 47 + 38?" }],
      response_format: { type: "json_schema", json_schema: { name: "answer", schema } },
    }),
  });
  if (response.status !== 200)
    throw new Error(`${JSON.stringify(schema)}: ${await response.text()}`);
  const { choices } = (await response.json()) as {
    choices: [{ message: { content: string }; finish_reason: string }];
  };
  return choices[0];
}

// Exact decimals: Ajv divides doubles, by which 0.07 is no multiple of 0.01.
const ajv = new Ajv2020({ strict: false, multipleOfPrecision: 9 });
const counts = { valid: 0, cut: 0, wrong: 0 };
const waiting = answerSchemas.flatMap((schema, i) =>
  Array.from({ length: Number(answers) }, (_, seed) => ({ schema, seed: 1000 * i + seed })),
);
const validators = new Map(answerSchemas.map((schema) => [schema, ajv.compile(schema)]));
const askInTurn = async () => {
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    const { message, finish_reason } = await ask(next.schema, next.seed);
    const validate = validators.get(next.schema);
    if (finish_reason !== "stop") counts.cut++;
    else if (validate?.(JSON.parse(message.content))) counts.valid++;
    else {
      counts.wrong++;
      console.log(
        `${message.content} is not ${JSON.stringify(next.schema)}: ${ajv.errorsText(validate?.errors)}`,
      );
    }
  }
};
await Promise.all(Array.from({ length: STREAMS }, askInTurn));
console.log(
  `${answerSchemas.length} schemas, ${answers} answers each: ${counts.valid} parse and are valid, ` +
    `${counts.wrong} are not; ${counts.cut} were cut by max_tokens`,
);
process.exitCode = counts.wrong > 0 ? 1 : 0;
await server.close();
await engine.close();
await text.close();
