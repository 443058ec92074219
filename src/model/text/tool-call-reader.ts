/** Tool calls as the models write them, from markers and the text between them. */
import type { OutputDelta } from "./output-delta.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** V3, R1 and R1-0528 write the first, V3.1 the second. */
export type ToolCallFormat = "deepseek-v3" | "deepseek-v3.1" | "kimi-k2";

/** `separator`: between a call's name and its arguments; in V3 between the word `function` and both. */
type Mark = "sectionBegin" | "callBegin" | "separator" | "callEnd" | "sectionEnd";

const deepseekMarkers: readonly (readonly [Mark, string])[] = [
  ["sectionBegin", "<｜tool▁calls▁begin｜>"],
  ["callBegin", "<｜tool▁call▁begin｜>"],
  ["separator", "<｜tool▁sep｜>"],
  ["callEnd", "<｜tool▁call▁end｜>"],
  ["sectionEnd", "<｜tool▁calls▁end｜>"],
];

const markersOf: Record<ToolCallFormat, typeof deepseekMarkers> = {
  "deepseek-v3": deepseekMarkers,
  "deepseek-v3.1": deepseekMarkers,
  "kimi-k2": [
    ["sectionBegin", "<|tool_calls_section_begin|>"],
    ["callBegin", "<|tool_call_begin|>"],
    ["separator", "<|tool_call_argument_begin|>"],
    ["callEnd", "<|tool_call_end|>"],
    ["sectionEnd", "<|tool_calls_section_end|>"],
  ],
};

/**
 * `between`: outside a call. `head`: before the separator. `name` and `fence`: V3's lines after it, the call's name
 * and the opening of a fenced block. `arguments`: the rest.
 */
type Phase = "between" | "head" | "name" | "fence" | "arguments";

export class ToolCallReader {
  readonly #format: ToolCallFormat;
  readonly #marks: ReadonlyMap<number, Mark>;
  #phase: Phase = "between";
  /** Text not yet told: a name, or what may turn out to be a fence. */
  #held = "";
  #fenced = false;
  #index = -1;

  constructor(vocabulary: Vocabulary, format: ToolCallFormat) {
    this.#format = format;
    this.#marks = new Map(
      markersOf[format].flatMap(([mark, text]) => {
        const token = vocabulary.specialId(text);
        return token === undefined ? [] : [[token, mark] as const];
      }),
    );
  }

  opens(token: number): boolean {
    const mark = this.#marks.get(token);
    return mark === "sectionBegin" || mark === "callBegin";
  }

  closes(token: number): boolean {
    return this.#marks.get(token) === "sectionEnd";
  }

  /** A marker; a marker out of place only ends the part that it interrupts. */
  mark(token: number): OutputDelta[] {
    switch (this.#marks.get(token)) {
      case "separator":
        return this.#phase === "head" ? this.#separate() : [];
      case "callBegin": {
        const deltas = this.end();
        this.#phase = "head";
        return deltas;
      }
      case undefined:
        return [];
      default:
        return this.end();
    }
  }

  read(text: string): OutputDelta[] {
    this.#held += text;
    switch (this.#phase) {
      case "between":
        return this.#stray();
      case "head":
        return [];
      case "name":
        return this.#readName();
      case "fence":
        return this.#readFence();
      default:
        return this.#readArguments();
    }
  }

  /** Ends the call at work: what is known of it has been told, what is not is content. */
  end(): OutputDelta[] {
    const deltas = this.#rest();
    this.#phase = "between";
    this.#held = "";
    this.#fenced = false;
    return deltas;
  }

  #rest(): OutputDelta[] {
    switch (this.#phase) {
      case "between":
      case "head":
        return this.#stray();
      case "name":
        return this.#begin(this.#held);
      case "fence":
        return this.#isFence(this.#held) ? [] : this.#tell(this.#held);
      default:
        return this.#fenced && this.#held.trim() === FENCE ? [] : this.#tell(this.#held);
    }
  }

  /** Text where a call was expected is the model's answer; line breaks between calls are nothing. */
  #stray(): OutputDelta[] {
    const text = this.#held;
    this.#held = "";
    return text.trim() === "" ? [] : [{ kind: "content", text }];
  }

  #separate(): OutputDelta[] {
    const head = this.#held;
    if (this.#format === "deepseek-v3" && head.trim() === "function") {
      this.#held = "";
      this.#phase = "name";
      return [];
    }
    this.#phase = "arguments";
    return this.#begin(head);
  }

  #begin(written: string): OutputDelta[] {
    this.#held = "";
    const name = written.trim();
    if (name === "") return [];
    this.#index++;
    const call = { kind: "tool-call", index: this.#index } as const;
    if (this.#format !== "kimi-k2") return [{ ...call, name }];
    // Kimi-K2's id is functions.NAME:NUMBER.
    const bare = name.replace(/^functions\./, "").replace(/:\d+$/, "");
    return [{ ...call, name: bare, id: name }];
  }

  #readName(): OutputDelta[] {
    const end = this.#held.indexOf("\n");
    if (end < 0) return [];
    const rest = this.#held.slice(end + 1);
    const deltas = this.#begin(this.#held.slice(0, end));
    this.#phase = "fence";
    return [...deltas, ...this.read(rest)];
  }

  /** A fenced block's opening line, or already the arguments. */
  #readFence(): OutputDelta[] {
    const end = this.#held.indexOf("\n");
    if (end < 0 && this.#isFence(this.#held)) return [];
    this.#fenced = this.#isFence(this.#held.slice(0, end));
    if (this.#fenced) this.#held = this.#held.slice(end + 1);
    this.#phase = "arguments";
    return this.read("");
  }

  /** Whether this is, or could become, the line that opens a fenced block. */
  #isFence(line: string): boolean {
    return "```json".startsWith(line.trimEnd());
  }

  #readArguments(): OutputDelta[] {
    if (!this.#fenced) return this.#tell(this.#held);
    const end = endBeforeFence(this.#held);
    const held = this.#held.slice(end);
    const deltas = this.#tell(this.#held.slice(0, end));
    this.#held = held;
    return deltas;
  }

  #tell(text: string): OutputDelta[] {
    this.#held = "";
    return text === "" ? [] : [{ kind: "tool-arguments", index: this.#index, text }];
  }
}

const FENCE = "```";

/** Where the text ends without the white space and up to three backticks that may be a block's closing. */
function endBeforeFence(text: string): number {
  let end = text.trimEnd().length;
  for (let ticks = 0; ticks < FENCE.length && text[end - 1] === "`"; ticks++) end--;
  return text.slice(0, end).trimEnd().length;
}
