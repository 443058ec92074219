import { done, type FieldSources, harmless, refused } from "../fields/index.ts";

const CACHED = "prefixes are always cached";
const ELSEWHERE = "tools are the client's own to run";

/** `/v1/messages/count_tokens` */
export const countFields: FieldSources = {
  Anthropic: {
    model: done("a name of `/v1/models`"),
    messages: done(),
    "messages[].role": done("user, assistant, system"),
    "messages[].content": done(
      "a text or blocks; words of the assistant's at the end are gone on from",
    ),
    "messages[].content[].type": done("text, thinking, redacted_thinking, tool_use, tool_result"),
    "messages[].content[].text": done(),
    "messages[].content[].citations": harmless("notes on an answer are not read again"),
    "messages[].content[].cache_control": harmless(CACHED),
    "messages[].content[].thinking": done("thoughts, where the template reads them"),
    "messages[].content[].signature": harmless("thoughts are read as they are sent"),
    "messages[].content[].data": harmless("redacted thoughts cannot be read"),
    "messages[].content[].id": done(),
    "messages[].content[].name": done(),
    "messages[].content[].input": done(),
    "messages[].content[].caller": harmless(ELSEWHERE),
    "messages[].content[].tool_use_id": done("results are put in the order of their calls"),
    "messages[].content[].content": done("a text or text blocks"),
    "messages[].content[].is_error": done(
      "the result's words begin with Error, if they do not already",
    ),
    system: done("a text or text blocks"),
    "system[].type": done("text"),
    "system[].text": done(),
    "system[].cache_control": harmless(CACHED),
    "system[].citations": harmless("notes on a text are not read"),
    tools: done(),
    "tools[].type": done("custom"),
    "tools[].name": done(),
    "tools[].description": done(),
    "tools[].input_schema": done("told to the model"),
    "tools[].cache_control": harmless(CACHED),
    "tools[].strict": done("true: arguments are as input_schema has them, or it is refused"),
    "tools[].eager_input_streaming": harmless("arguments are always told as they come"),
    "tools[].input_examples": refused("describe the tool with words", []),
    "tools[].defer_loading": refused("the model is told of all tools", false),
    "tools[].allowed_callers": harmless(ELSEWHERE),
    tool_choice: done("auto, any, tool, none"),
    "tool_choice.type": done(),
    "tool_choice.name": done(),
    "tool_choice.disable_parallel_tool_use": done("true: the answer has one call at most"),
    thinking: done(),
    "thinking.type": done("enabled and adaptive turn thoughts on, disabled off"),
    "thinking.budget_tokens": harmless("thoughts end by themselves"),
    "thinking.display": harmless("thoughts are always told"),
    mcp_servers: refused(ELSEWHERE, []),
    context_management: harmless("a conversation is read as it is sent"),
    cache_control: harmless(CACHED),
  },
};

/** `/v1/messages` */
export const messagesFields: FieldSources = {
  Anthropic: {
    ...countFields["Anthropic"],
    max_tokens: done("cut to what the context holds"),
    stop_sequences: done("up to 16"),
    stream: done(),
    temperature: done("without it what `generation_config.json` says"),
    top_p: done("without it what `generation_config.json` says"),
    top_k: done(),
    metadata: harmless("nothing is kept"),
    service_tier: harmless("there is one tier"),
    speed: harmless("there is one speed"),
    inference_geo: harmless("the server is where it is"),
    container: refused(ELSEWHERE),
    output_config: done(),
    "output_config.effort": harmless("thoughts are on or off"),
    "output_config.format": done("json_schema"),
    output_format: refused("use output_config.format"),
  },
};
