/**
 * Tool calls in what a model says. Every character is told, in a call or as text: a marker that no call has use for is
 * text, and so is a call that cannot be understood. A call is told once its name is known; JSON arguments follow as
 * they come, without a code fence around them.
 */
import { pairsToJson, textParameters } from "./argument-pairs.ts";
import type { ChatTool } from "./chat-message.ts";
import { JsonObjectScanner } from "./json-object-scanner.ts";
import type { OutputDelta } from "./output-delta.ts";
import { firstMatch, unfinishedLength } from "./text-search.ts";
import { type ToolCallFormat, toolCallFormats } from "./tool-call-formats.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** What is said besides calls: the caller knows whether it is thought or answer. */
type Said =
  | { readonly kind: "text"; readonly text: string }
  | Extract<OutputDelta, { kind: "tool-call" | "tool-arguments" }>;

/**
 * `text`: no call is near. `section`: between calls. `head`: in a call that is not yet understood. `arguments`: in its
 * JSON object. `after`: between that and the call's end.
 */
type State = "text" | "section" | "head" | "arguments" | "after";

type Role = "sectionBegin" | "sectionEnd" | "callBegin" | "callEnd" | "object";

/** Longer heads are none, so that somebody's words about calls are not held back for long. */
const LONGEST_HEAD = 256;
/** Another word behind one is somebody's. */
const FENCE = /```[ \t]*(?:json\b)?/gi;
/** Begins JSON arguments. */
const BRACE = "{";
const REST_OF_FENCE = /^\s*`{0,3}\s*$/;

export class ToolCallReader {
  readonly #format: (typeof toolCallFormats)[ToolCallFormat];
  readonly #tools: readonly ChatTool[];
  readonly #callsBefore: number;
  readonly #roles: ReadonlyMap<string, Role>;
  /** Markers that are no tokens of the vocabulary, and are searched in text. */
  readonly #spelled: readonly string[];
  #state: State = "text";
  /** Text that may end in a spelled marker. */
  #pending = "";
  /** What was said since the last that was told, markers included. */
  #raw = "";
  /** Where in it the call's head begins. */
  #headStart = 0;
  #object = new JsonObjectScanner();
  /** A call of this section has been told. */
  #told = false;
  #index = -1;

  /** `callsBefore`: in the conversation, where the model numbers calls. */
  constructor(
    vocabulary: Vocabulary,
    format: ToolCallFormat,
    { tools, callsBefore }: { tools: readonly ChatTool[]; callsBefore: number },
  ) {
    this.#format = toolCallFormats[format];
    this.#tools = tools;
    this.#callsBefore = callsBefore;
    this.#roles = rolesOf(this.#format);
    this.#spelled = [...this.#roles.keys()].filter(
      (text) => text !== BRACE && vocabulary.specialId(text) === undefined,
    );
  }

  /** What has been read may still be told as text. */
  get undecided(): boolean {
    return this.#pending !== "" || this.#raw !== "";
  }

  /** Inside a call that has been told. */
  get inCall(): boolean {
    return this.#state === "arguments" || this.#state === "after";
  }

  /** A token of its own in the vocabulary, so no ordinary text. */
  readToken(text: string): Said[] {
    if (!this.#roles.has(text)) return this.read(text);
    return [...this.#takeText(this.#cut(this.#pending.length)), ...this.#mark(text)];
  }

  read(text: string): Said[] {
    this.#pending += text;
    const said: Said[] = [];
    while (this.#pending !== "") {
      if (this.#state === "arguments") {
        said.push(this.#takeObject(this.#cut(this.#pending.length)));
        continue;
      }
      const markers = this.#markersHere();
      const found = firstMatch(this.#pending, markers);
      if (!found) {
        const held = unfinishedLength(this.#pending, markers);
        return [...said, ...this.#takeText(this.#cut(this.#pending.length - held))];
      }
      said.push(...this.#takeText(this.#cut(found.start)));
      said.push(...this.#mark(this.#cut(found.end - found.start)));
    }
    return said;
  }

  /** Nothing more comes: a call that was not understood is text. */
  end(): Said[] {
    const said = this.#takeText(this.#cut(this.#pending.length));
    said.push(...this.#settle());
    if (this.#told && this.#raw.trim() === "") this.#raw = "";
    return [...said, ...this.#release()];
  }

  #cut(length: number): string {
    const text = this.#pending.slice(0, length);
    this.#pending = this.#pending.slice(length);
    return text;
  }

  #markersHere(): readonly string[] {
    return this.#state === "head" && !this.#format.pairs
      ? [...this.#spelled, BRACE]
      : this.#spelled;
  }

  #mark(marker: string): Said[] {
    if (this.#inValue()) return this.#takeText(marker);
    switch (this.#roles.get(marker)) {
      case "sectionBegin":
        return this.#openSection(marker);
      case "callBegin":
        return this.#openCall(marker);
      case "callEnd":
        return this.#closeCall(marker);
      case "sectionEnd":
        return this.#closeSection(marker);
      default:
        return this.#openObject();
    }
  }

  /** Markers in the words of an argument are words. */
  #inValue(): boolean {
    if (this.#state === "arguments") return this.#object.inString;
    const { pairs } = this.#format;
    if (this.#state !== "head" || !pairs) return false;
    const [begin, end] = pairs.value;
    return this.#raw.lastIndexOf(begin) > this.#raw.lastIndexOf(end);
  }

  #openSection(marker: string): Said[] {
    if (this.#state !== "text") return this.#takeText(marker);
    this.#state = "section";
    this.#raw = marker;
    return [];
  }

  #openCall(marker: string): Said[] {
    const said = this.#settle();
    this.#state = "head";
    this.#raw += marker;
    this.#headStart = this.#raw.length;
    return said;
  }

  #closeCall(marker: string): Said[] {
    if (this.inCall) return this.#settle();
    if (this.#state !== "head") return this.#takeText(marker);
    const call = this.#understand();
    if (call) {
      this.#state = "section";
      return call;
    }
    this.#raw += marker;
    return this.#release();
  }

  #closeSection(marker: string): Said[] {
    const said = this.#settle();
    if (this.#state !== "section" || !this.#told) return [...said, ...this.#takeText(marker)];
    this.#raw = "";
    this.#state = "text";
    this.#told = false;
    return said;
  }

  #openObject(): Said[] {
    const call = this.#understand(BRACE);
    if (!call) {
      this.#raw += BRACE;
      return this.#release();
    }
    this.#state = "arguments";
    this.#object = new JsonObjectScanner();
    this.#object.push(BRACE);
    return call;
  }

  /** Tells the call whose head, and arguments if they are pairs, have been read. `json`: of its arguments. */
  #understand(json = "{}"): Said[] | undefined {
    const { head, pairs, callId } = this.#format;
    const written = this.#raw.slice(this.#headStart);
    const found = head.exec(pairs ? written : written.replace(FENCE, " "));
    const name = found?.groups?.name;
    if (found === null || name === undefined) return undefined;
    const text = pairs
      ? pairsToJson(written.slice(found[0].length), pairs.pair, textParameters(this.#tools, name))
      : json;
    if (text === undefined) return undefined;
    const index = ++this.#index;
    const id = callId?.(name, this.#callsBefore + index);
    this.#raw = "";
    this.#told = true;
    return [
      { kind: "tool-call", index, name, ...(id === undefined ? {} : { id }) },
      { kind: "tool-arguments", index, text },
    ];
  }

  /** Ends a call without its marker. */
  #settle(): Said[] {
    if (this.#state === "head") return this.#release();
    if (!this.inCall) return [];
    this.#state = "section";
    if (!REST_OF_FENCE.test(this.#raw)) return this.#release();
    this.#raw = "";
    return [];
  }

  /** What was held back is no call. */
  #release(): Said[] {
    const text = this.#raw;
    this.#raw = "";
    this.#state = this.#told ? "section" : "text";
    return text === "" ? [] : [{ kind: "text", text }];
  }

  #takeText(text: string): Said[] {
    if (text === "") return [];
    switch (this.#state) {
      case "text":
        return [{ kind: "text", text }];
      case "arguments":
        return [this.#takeObject(text)];
      case "head":
        return this.#takeHead(text);
      case "section":
        this.#raw += text;
        return text.trim() === "" ? [] : this.#release();
      default:
        this.#raw += text;
        return REST_OF_FENCE.test(this.#raw) ? [] : this.#tellRest();
    }
  }

  /** Text after an object that is no fence. */
  #tellRest(): Said[] {
    const text = this.#raw;
    this.#raw = "";
    return [{ kind: "text", text }];
  }

  #takeHead(text: string): Said[] {
    const length = this.#raw.length - this.#headStart;
    this.#raw += text;
    // Pairs follow a head that was short enough.
    if (length > LONGEST_HEAD || length + text.length <= LONGEST_HEAD) return [];
    return this.#format.pairs && this.#raw.slice(this.#headStart).includes("<")
      ? []
      : this.#release();
  }

  /** What comes behind the object is still to be read. */
  #takeObject(text: string): Said {
    const length = this.#object.push(text);
    if (this.#object.complete) {
      this.#state = "after";
      this.#pending = text.slice(length) + this.#pending;
    }
    return { kind: "tool-arguments", index: this.#index, text: text.slice(0, length) };
  }
}

function rolesOf({ section, lead = "", call }: (typeof toolCallFormats)[ToolCallFormat]) {
  const roles = new Map<string, Role>([
    [call[0], "callBegin"],
    [call[1], "callEnd"],
    [BRACE, "object"],
  ]);
  if (section) {
    roles.set(section[0], "sectionBegin").set(section[1], "sectionEnd");
    roles.set(lead + section[0], "sectionBegin");
  }
  return roles;
}
