import { createInterface, type Interface, type Key } from "node:readline";
import { Writable } from "node:stream";
import { dimmed } from "./answer-printer.ts";

/** A terminal's two ends; tests give others. */
export interface Terminal {
  readonly input: NodeJS.ReadableStream;
  readonly output: NodeJS.WritableStream & { readonly columns?: number };
}

const PROMPT = "> ";
const CONTINUED = "… ";

/** What a terminal marks pasted text with, and how it is asked to. */
const MARK_PASTES = "\u001B[?2004h";
const MARK_NO_PASTES = "\u001B[?2004l";

export interface PromptOptions {
  /** Lines entered earlier, the newest first. */
  readonly history: readonly string[];
  readonly historySize: number;
  /** Hears of all lines that are kept, the newest first. */
  readonly onHistory: (lines: readonly string[]) => void;
}

/**
 * Reads what a person enters: a line, lines whose ends are backslashes, or a paste of many lines. Ctrl+C
 * stops the answer under way; else it empties the line; at an empty prompt the second in a row ends.
 */
export class Prompt {
  readonly #terminal: Terminal;
  readonly #screen: MutedScreen;
  readonly #lines: Interface;
  readonly #entered: string[] = [];
  /** Earlier lines of the text being entered. */
  #begun: string[] = [];
  #pasting = false;
  #interrupted = false;
  #closed = false;
  #waiting: (() => void) | undefined;
  #stop: (() => void) | undefined;

  constructor(terminal: Terminal, { history, historySize, onHistory }: PromptOptions) {
    this.#terminal = terminal;
    this.#screen = new MutedScreen(terminal.output);
    this.#lines = createInterface({
      input: terminal.input,
      output: this.#screen,
      terminal: true,
      ...{ history: [...history], historySize, removeHistoryDuplicates: true },
    });
    this.#lines
      .on("history", onHistory)
      .on("line", (line) => this.#take(line))
      .on("SIGINT", () => this.#interrupt())
      .on("close", () => this.#end());
    // readline has begun to tell keys by now.
    terminal.input.on("keypress", (_: unknown, key: Key) => this.#heedPaste(key));
    terminal.output.write(MARK_PASTES);
  }

  /** The next text; undefined when there will be no more. */
  async next(): Promise<string | undefined> {
    this.#show();
    while (this.#entered.length === 0 && !this.#closed) {
      await new Promise<void>((resolve) => (this.#waiting = resolve));
    }
    return this.#entered.shift();
  }

  /** While `work` runs the prompt is hidden, and Ctrl+C aborts its signal. */
  async during<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const stopped = new AbortController();
    this.#stop = () => stopped.abort();
    this.#screen.muted = true;
    try {
      return await work(stopped.signal);
    } finally {
      this.#stop = undefined;
      this.#screen.muted = false;
    }
  }

  close(): void {
    this.#lines.close();
  }

  #show(): void {
    this.#lines.setPrompt(this.#begun.length === 0 ? PROMPT : CONTINUED);
    if (!this.#closed && this.#entered.length === 0) this.#lines.prompt(true);
  }

  #take(line: string): void {
    this.#interrupted = false;
    if (this.#pasting || line.endsWith("\\")) {
      this.#begun.push(this.#pasting ? line : line.slice(0, -1));
      return this.#show();
    }
    this.#entered.push([...this.#begun, line].join("\n"));
    this.#begun = [];
    this.#wake();
  }

  /** Between these keys an Enter is part of the text; what a paste ends with waits to be edited. */
  #heedPaste({ name }: Key): void {
    if (name === "paste-start") this.#pasting = true;
    if (name === "paste-end") this.#pasting = false;
  }

  #interrupt(): void {
    this.#pasting = false;
    if (this.#stop) return this.#stop();
    const isEmpty = this.#lines.line === "" && this.#begun.length === 0;
    if (isEmpty && this.#interrupted) return this.#lines.close();
    this.#interrupted = isEmpty;
    this.#begun = [];
    // Ctrl+E and Ctrl+U empty the line, wherever its cursor is.
    this.#lines.write(null, { ctrl: true, name: "e" });
    this.#lines.write(null, { ctrl: true, name: "u" });
    const hint = isEmpty ? dimmed("Ctrl+C again, Ctrl+D or /bye ends") : "";
    this.#terminal.output.write(`\n${hint}${hint && "\n"}`);
    this.#show();
  }

  #end(): void {
    this.#closed = true;
    this.#stop?.();
    this.#terminal.output.write(MARK_NO_PASTES);
    this.#wake();
  }

  #wake(): void {
    this.#waiting?.();
    this.#waiting = undefined;
  }
}

/** A terminal on which readline draws nothing while an answer is being written. */
class MutedScreen extends Writable {
  muted = false;
  readonly #output: Terminal["output"];

  constructor(output: Terminal["output"]) {
    super();
    this.#output = output;
    output.on("resize", () => this.emit("resize"));
  }

  get columns(): number {
    return this.#output.columns || Infinity;
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    if (!this.muted) this.#output.write(chunk);
    done();
  }
}
