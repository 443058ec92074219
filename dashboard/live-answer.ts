import { converse, type Question, type Turn } from "./conversation.ts";

/** The answer that comes, one at a time; what a conversation that is over still says is nothing. */
export class LiveAnswer {
  readonly #tell: (turns: readonly Turn[]) => void;
  readonly #change: (isLive: boolean) => void;
  #stop: AbortController | undefined;

  constructor(tell: (turns: readonly Turn[]) => void, change: (isLive: boolean) => void) {
    this.#tell = tell;
    this.#change = change;
  }

  /** Tells the turns as the last of them grows. */
  async ask(question: Omit<Question, "signal">): Promise<void> {
    if (this.#stop) return;
    const stop = new AbortController();
    this.#stop = stop;
    this.#change(true);
    for await (const turn of converse({ ...question, signal: stop.signal })) {
      if (this.#stop !== stop) return;
      this.#tell([...question.before, turn]);
    }
    this.#stop = undefined;
    this.#change(false);
  }

  /** What it has said stays. */
  stop(): void {
    this.#stop?.abort();
  }

  /** The conversation begins anew. */
  forget(): void {
    this.stop();
    this.#stop = undefined;
    this.#change(false);
    this.#tell([]);
  }
}
