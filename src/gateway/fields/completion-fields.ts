import { done, type FieldSources, harmless, refused } from "./field.ts";
import { generationFields } from "./generation-fields.ts";

/** What may name the model. */
const ofServer = { model: done("a name of `/v1/models`; needed where there are several models") };

/** `/v1/completions` */
export const completionFields: FieldSources = {
  OpenAI: {
    ...generationFields["OpenAI"],
    prompt: done("a text, token ids, or a list of either"),
    logprobs: done("up to 20; many in a long answer have to be streamed"),
    echo: done("the prompt's text before the answer's; not beside logprobs"),
    suffix: refused("there is no filling in yet", ""),
  },
  "vLLM and SGLang": {
    ...generationFields["vLLM and SGLang"],
    response_format: done("text, json_object, json_schema"),
    add_special_tokens: refused("a text begins with one begin-of-sentence token", true),
  },
  "llama-server and others": { ...generationFields["llama-server and others"] },
};

/** `/tokenize` */
export const tokenizeFields: FieldSources = {
  "vLLM and SGLang": {
    ...ofServer,
    prompt: done("may name special tokens"),
    add_special_tokens: done("begins with the begin-of-sentence token; true by default"),
    return_token_strs: harmless("/detokenize tells tokens' text"),
    messages: refused("say them as the prompt"),
  },
  "llama-server and others": {
    content: refused("use prompt"),
    with_pieces: harmless("/detokenize tells tokens' text"),
    parse_special: harmless("special tokens are always read"),
  },
};

/** `/scale` */
export const scaleFields: FieldSources = {
  DaySix: { ...ofServer, prefill: done(), decode: done(), combined: done() },
};

/** `/rebalance` */
export const rebalanceFields: FieldSources = { DaySix: ofServer };

/** `/detokenize` */
export const detokenizeFields: FieldSources = {
  "vLLM and SGLang": { ...ofServer, tokens: done() },
};
