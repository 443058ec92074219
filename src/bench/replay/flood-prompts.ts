/** The flood's own thread, so that making and sending 200 MB delays nobody who measures. */
import { parentPort, workerData } from "node:worker_threads";

const PROMPTS = 50;
const PROMPT_BYTES = 4 * 2 ** 20 - 4096;

const { url, model } = workerData as { readonly url: string; readonly model: string };

/** Path and body of a request whose prompt is words without end. */
function request(index: number): [path: string, body: Buffer] {
  const words = `${index} words in plenty `;
  const prompt = words.repeat(Math.ceil(PROMPT_BYTES / words.length)).slice(0, PROMPT_BYTES);
  const asked = index % 2 === 0 ? { prompt } : { messages: [{ role: "user", content: prompt }] };
  const path = index % 2 === 0 ? "/v1/completions" : "/v1/chat/completions";
  return [path, Buffer.from(JSON.stringify({ model, max_tokens: 1, ...asked }))];
}

/** The status that a request is refused with; 0 where it has no answer. */
async function send([path, body]: [path: string, body: Buffer]): Promise<number> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(url + path, { method: "POST", headers, body }).catch(
    () => undefined,
  );
  await response?.text();
  return response?.status ?? 0;
}

const requests = Array.from({ length: PROMPTS }, (_, index) => request(index));
parentPort?.once("message", () => {
  void Promise.all(requests.map(send)).then((statuses) => parentPort?.postMessage(statuses));
});
parentPort?.postMessage("ready");
