/**
 * How models write tool calls, one description a format. What the formats share is in ToolCallReader:
 *
 *   deepseek-v3     B⟨function⟩S name ```json {…} ``` E      each call between <｜tool▁call▁begin｜> and …end,
 *   deepseek-v3.1   B name S {…} E                           all between <｜tool▁calls▁begin｜> and …end
 *   kimi-k2         B functions.name:0 S {…} E
 *   glm-4.7         <tool_call>name<arg_key>k</arg_key><arg_value>v</arg_value></tool_call>
 *   deepseek-v3.2   <｜DSML｜invoke name="…"><｜DSML｜parameter name="k" string="true">v</｜DSML｜parameter></…>
 */

/** What begins a section or call, and what ends it. */
type Markers = readonly [begin: string, end: string];

/** A call as the model was trained to write it, around its name and its arguments. */
interface CallWriting {
  readonly before: string;
  /** The name is followed by a colon and the call's number. */
  readonly isNumbered?: boolean;
  readonly between: string;
  readonly after: string;
  /** Between two calls. */
  readonly next: string;
}

/** A key and its value. */
interface PairWriting {
  readonly before: string;
  readonly between: string;
  /** Before a text as it is, and before JSON; where they are one, the function's schema tells them apart. */
  readonly text: string;
  readonly json: string;
  readonly after: string;
}

/** Arguments that are no JSON of the model's own but keys and values. */
interface ArgumentPairs {
  readonly writing: PairWriting;
  /** Between them markers are a value's own text. */
  readonly value: Markers;
  /** One pair: `key`, `value`, and `string` where the model says whether that is a text. */
  readonly pair: RegExp;
}

export interface FormatDescription {
  /** Around the calls of one answer. */
  readonly section?: Markers;
  /** White space that belongs to a section's beginning. */
  readonly lead?: string;
  /** White space behind a section's beginning. */
  readonly indent?: string;
  readonly call: Markers;
  readonly writing: CallWriting;
  /** Text between a call's beginning and its arguments, code fences taken out: `name`. */
  readonly head: RegExp;
  /** Absent where arguments are one JSON object. */
  readonly pairs?: ArgumentPairs;
  /** The model's own ids, numbered through the conversation. */
  readonly callId?: (name: string, number: number) => string;
}

const NAME = "(?<name>[^\\s{}<>\"'`|｜]+?)";

const deepseekMarkers = {
  section: ["<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"],
  call: ["<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"],
} as const;
const SEPARATOR = "<｜tool▁sep｜>";
const [CALL_BEGIN, CALL_END] = deepseekMarkers.call;

/** DeepSeek's markup language; V3.2's and V4's sections differ in their name. */
const dsml = (section: string): FormatDescription => ({
  section: [`<｜DSML｜${section}>`, `</｜DSML｜${section}>`],
  lead: "\n\n",
  indent: "\n",
  call: ["<｜DSML｜invoke", "</｜DSML｜invoke>"],
  writing: {
    ...{ before: '<｜DSML｜invoke name="', between: '">\n' },
    ...{ after: "</｜DSML｜invoke>\n", next: "" },
  },
  head: new RegExp(`^\\s+name="\\s*${NAME}\\s*"\\s*>\\s*`, "u"),
  pairs: {
    writing: {
      ...{ before: '<｜DSML｜parameter name="', between: '" string="' },
      ...{ text: 'true">', json: 'false">', after: "</｜DSML｜parameter>\n" },
    },
    value: ["<｜DSML｜parameter", "</｜DSML｜parameter>"],
    pair: /<｜DSML｜parameter\s+name="(?<key>[^"]*)"(?:\s+string="(?<string>true|false)")?\s*>(?<value>[^]*?)<\/｜DSML｜parameter>\s*/uy,
  },
});

const descriptions = {
  "deepseek-v3": {
    ...deepseekMarkers,
    writing: {
      ...{ before: `${CALL_BEGIN}function${SEPARATOR}`, between: "\n```json\n" },
      ...{ after: `\n\`\`\`${CALL_END}`, next: "\n" },
    },
    // The word `function` alone is no name.
    head: new RegExp(
      `^(?!\\s*function\\s*${SEPARATOR}\\s*$)\\s*(?:function\\s*${SEPARATOR})?\\s*${NAME}\\s*(?:${SEPARATOR})?\\s*(?:null)?\\s*$`,
      "u",
    ),
  },
  "deepseek-v3.1": {
    ...deepseekMarkers,
    writing: { before: CALL_BEGIN, between: SEPARATOR, after: CALL_END, next: "" },
    head: new RegExp(
      `^\\s*(?:function\\s*${SEPARATOR}(?=\\s*\\S))?\\s*${NAME}\\s*(?:${SEPARATOR})?\\s*(?:null)?\\s*$`,
      "u",
    ),
  },
  "kimi-k2": {
    section: ["<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"],
    call: ["<|tool_call_begin|>", "<|tool_call_end|>"],
    writing: {
      ...{ before: "<|tool_call_begin|>functions.", isNumbered: true },
      ...{ between: "<|tool_call_argument_begin|>", after: "<|tool_call_end|>", next: "" },
    },
    head: new RegExp(
      `^\\s*(?:functions\\.)?${NAME}(?::\\d*)?\\s*(?:<\\|tool_call_argument_begin\\|>)?\\s*(?:null)?\\s*$`,
      "u",
    ),
    callId: (name: string, number: number) => `functions.${name}:${number}`,
  },
  "glm-4.7": {
    call: ["<tool_call>", "</tool_call>"],
    writing: { before: "<tool_call>", between: "", after: "</tool_call>", next: "\n" },
    head: new RegExp(`^\\s*${NAME}\\s*(?=<|$)`, "u"),
    pairs: {
      writing: {
        ...{ before: "<arg_key>", between: "</arg_key><arg_value>" },
        ...{ text: "", json: "", after: "</arg_value>" },
      },
      value: ["<arg_value>", "</arg_value>"],
      pair: /<arg_key>(?<key>[^]*?)<\/arg_key>\s*<arg_value>(?<value>[^]*?)<\/arg_value>\s*/uy,
    },
  },
  "deepseek-v3.2": dsml("function_calls"),
  "deepseek-v4": dsml("tool_calls"),
} satisfies Record<string, FormatDescription>;

/** V3, R1 and R1-0528 write the first, V3.1 the second, GLM-4.5 to GLM-5 write GLM-4.7's. */
export type ToolCallFormat = keyof typeof descriptions;

export const toolCallFormats: Readonly<Record<ToolCallFormat, FormatDescription>> = descriptions;
