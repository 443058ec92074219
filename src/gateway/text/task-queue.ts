import { ClientGone, queueFull } from "../errors.ts";

export interface QueueLimits {
  /** Tasks that may wait, and the characters of all of them. */
  readonly queueLimit: number;
  readonly queuedCharacters: number;
}

export interface Job<Task, Answer> {
  readonly task: Task;
  readonly characters: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

/** Tasks that wait for their turn, until whoever wants them leaves. */
export class TaskQueue<Task, Answer> {
  /** What a task is, in the plural. */
  readonly #what: string;
  readonly #limits: QueueLimits;
  readonly #jobs: Job<Task, Answer>[] = [];
  #characters = 0;

  constructor(what: string, limits: QueueLimits) {
    this.#what = what;
    this.#limits = limits;
  }

  get isEmpty(): boolean {
    return this.#jobs.length === 0;
  }

  /**
   * The answer of a task that waits for its turn.
   * @throws ApiError when there is no room for it; ClientGone when `signal` was aborted
   */
  add(task: Task, characters: number, signal: AbortSignal): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) throw new ClientGone();
      this.#assertRoom(characters);
      const leave = () => {
        this.#remove(job);
        reject(new ClientGone());
      };
      const stay = () => signal.removeEventListener("abort", leave);
      const job: Job<Task, Answer> = {
        task,
        characters,
        resolve: (answer) => {
          stay();
          resolve(answer);
        },
        reject: (error) => {
          stay();
          reject(error);
        },
      };
      signal.addEventListener("abort", leave);
      this.#jobs.push(job);
      this.#characters += characters;
    });
  }

  /** The answer of a task whose turn is before all others', for which there is always room. */
  addFirst(task: Task): Promise<Answer> {
    return new Promise((resolve, reject) => this.putBack({ task, characters: 0, resolve, reject }));
  }

  /** A job that was taken has its turn again. */
  putBack(job: Job<Task, Answer>): void {
    this.#jobs.unshift(job);
    this.#characters += job.characters;
  }

  take(): Job<Task, Answer> | undefined {
    const [job] = this.#jobs;
    if (job) this.#remove(job);
    return job;
  }

  refuseAll(error: Error): void {
    while (!this.isEmpty) this.take()?.reject(error);
  }

  #assertRoom(characters: number): void {
    const { queueLimit, queuedCharacters } = this.#limits;
    if (this.#jobs.length >= queueLimit) {
      throw queueFull(`${queueLimit} ${this.#what} are waiting, expected at most ${queueLimit}`);
    }
    if (!this.isEmpty && this.#characters + characters > queuedCharacters) {
      const waiting = `${this.#characters} characters are waiting, ${characters} more`;
      throw queueFull(`${waiting} would exceed ${queuedCharacters}`);
    }
  }

  #remove(job: Job<Task, Answer>): void {
    const at = this.#jobs.indexOf(job);
    if (at < 0) return;
    this.#jobs.splice(at, 1);
    this.#characters -= job.characters;
  }
}

/** Characters of all strings in a value, keys included. */
export function charactersOf(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null) return 0;
  let characters = 0;
  for (const [key, child] of Object.entries(value)) characters += key.length + charactersOf(child);
  return characters;
}
