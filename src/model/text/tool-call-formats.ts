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

/** Arguments that are no JSON of the model's own but keys and values. */
interface ArgumentPairs {
  /** Between them markers are a value's own text. */
  readonly value: Markers;
  /** One pair: `key`, `value`, and `string` where the model says whether that is a text. */
  readonly pair: RegExp;
}

interface FormatDescription {
  /** Around the calls of one answer. */
  readonly section?: Markers;
  /** White space that belongs to a section's beginning. */
  readonly lead?: string;
  readonly call: Markers;
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

/** DeepSeek's markup language; V3.2's and V4's sections differ in their name. */
const dsml = (section: string): FormatDescription => ({
  section: [`<｜DSML｜${section}>`, `</｜DSML｜${section}>`],
  lead: "\n\n",
  call: ["<｜DSML｜invoke", "</｜DSML｜invoke>"],
  head: new RegExp(`^\\s+name="\\s*${NAME}\\s*"\\s*>\\s*`, "u"),
  pairs: {
    value: ["<｜DSML｜parameter", "</｜DSML｜parameter>"],
    pair: /<｜DSML｜parameter\s+name="(?<key>[^"]*)"(?:\s+string="(?<string>true|false)")?\s*>(?<value>[^]*?)<\/｜DSML｜parameter>\s*/uy,
  },
});

const descriptions = {
  "deepseek-v3": {
    ...deepseekMarkers,
    // The word `function` alone is no name.
    head: new RegExp(
      `^(?!\\s*function\\s*${SEPARATOR}\\s*$)\\s*(?:function\\s*${SEPARATOR})?\\s*${NAME}\\s*(?:${SEPARATOR})?\\s*(?:null)?\\s*$`,
      "u",
    ),
  },
  "deepseek-v3.1": {
    ...deepseekMarkers,
    head: new RegExp(
      `^\\s*(?:function\\s*${SEPARATOR}(?=\\s*\\S))?\\s*${NAME}\\s*(?:${SEPARATOR})?\\s*(?:null)?\\s*$`,
      "u",
    ),
  },
  "kimi-k2": {
    section: ["<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"],
    call: ["<|tool_call_begin|>", "<|tool_call_end|>"],
    head: new RegExp(
      `^\\s*(?:functions\\.)?${NAME}(?::\\d*)?\\s*(?:<\\|tool_call_argument_begin\\|>)?\\s*(?:null)?\\s*$`,
      "u",
    ),
    callId: (name: string, number: number) => `functions.${name}:${number}`,
  },
  "glm-4.7": {
    call: ["<tool_call>", "</tool_call>"],
    head: new RegExp(`^\\s*${NAME}\\s*(?=<|$)`, "u"),
    pairs: {
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
