import { ask } from "./server.ts";

/** A browser opens six connections to a server: one watches, and one is left for the chat. */
const CONNECTIONS = 4;
/** Answers that are asked for on each connection at a time. */
const PROMPTS = 6;
const MAX_TOKENS = 96;
export const LOAD_SECONDS = 30;
/** At a time. */
export const LOAD_SEQUENCES = CONNECTIONS * PROMPTS;

/** Beginnings, some of which have much in common and some nothing. */
const beginnings = [
  "Tell me a long story about the sea and the ships that cross it at night.",
  "You are a patient teacher of arithmetic. What is 47 + 38, and how does one see it?",
  "You are a patient teacher of arithmetic. What is 902 - 77, and how does one see it?",
  "Who are you, and what do you know?",
];

export interface DemoLoad {
  readonly model: string;
  readonly apiKey: string;
  readonly signal: AbortSignal;
  readonly random: () => number;
}

/**
 * Asks until the signal is aborted, with a bounded number of answers under way.
 * @throws ServerError when the server refuses
 */
export async function load(demo: DemoLoad): Promise<void> {
  await Promise.all(Array.from({ length: CONNECTIONS }, () => askOn(demo)));
}

async function askOn({ model, apiKey, signal, random }: DemoLoad): Promise<void> {
  while (!signal.aborted) {
    const prompts = Array.from({ length: PROMPTS }, () => promptOf(random));
    try {
      const response = await ask("/v1/completions", apiKey, {
        method: "POST",
        headers: { "content-type": "application/json" },
        signal,
        body: JSON.stringify({
          model,
          prompt: prompts,
          max_tokens: Math.ceil(MAX_TOKENS * (0.25 + 0.75 * random())),
          temperature: 1,
          ignore_eos: true,
        }),
      });
      await response.arrayBuffer();
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}

/** A beginning, said once to a few times. */
function promptOf(random: () => number): string {
  const beginning = beginnings[Math.floor(random() * beginnings.length)];
  return `${beginning} `.repeat(1 + Math.floor(4 * random()));
}
