// One round of node-llama-cpp, in a process of its own: prints a line of JSON for each measure.
import { getLlama, getModuleVersion, LlamaLogLevel } from "node-llama-cpp";

const [modelPath, text] = process.argv.slice(2);
const { threads, prompts, batches, batchContext, context } = JSON.parse(text);

const DECODED = 16;

const llama = await getLlama({
  ...{ gpu: false, build: "never", skipDownload: true, usePrebuiltBinaries: true },
  ...{ maxThreads: threads, logLevel: LlamaLogLevel.error },
});
const model = await llama.loadModel({ modelPath });

/** Seeded tokens, so that the experts' choices are spread. */
let state = 7;
function token() {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return 300 + (state % 30000);
}
const tokens = (count) => Array.from({ length: count }, token);

/** Evaluates tokens and asks for the logits behind the last. */
async function evaluate(sequence, input) {
  const items = [...input.slice(0, -1), [input.at(-1), { generateNext: { token: true } }]];
  await sequence.controlledEvaluate(items);
}

async function withSequences(count, length, run) {
  const contexts = await model.createContext({
    ...{ sequences: count, contextSize: length, batchSize: 512 },
    threads: { ideal: threads, min: threads },
  });
  try {
    await run(Array.from({ length: count }, () => contexts.getSequence()));
  } finally {
    await contexts.dispose();
  }
}

async function seconds(run) {
  const start = performance.now();
  await run();
  return (performance.now() - start) / 1000;
}

const tell = (measure, tokensPerSecond) =>
  console.log(JSON.stringify({ measure, tokensPerSecond }));

for (const prompt of prompts) {
  await withSequences(1, prompt + 64, async ([sequence]) => {
    await evaluate(sequence, tokens(32));
    await sequence.clearHistory();
    tell(`prefill ${prompt}`, prompt / (await seconds(() => evaluate(sequence, tokens(prompt)))));
  });
}
for (const batch of batches) {
  const length = batch === 1 ? context : batchContext;
  await withSequences(batch, length + DECODED + 8, async (sequences) => {
    for (const sequence of sequences) await evaluate(sequence, tokens(length));
    const step = () => Promise.all(sequences.map((sequence) => evaluate(sequence, tokens(1))));
    await step();
    const time = await seconds(async () => {
      for (let i = 0; i < DECODED; i++) await step();
    });
    tell(`decode ${batch} at ${length}`, (batch * DECODED) / time);
  });
}
console.log(JSON.stringify({ version: await getModuleVersion(), system: llama.systemInfo }));
await llama.dispose();
process.exit(0);
