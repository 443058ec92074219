/**
 * A complete tokenizer in a few kilobytes for tests of what stands above: DeepSeek-V3's pre-tokeniser and special
 * tokens over bytes and a handful of merges, 300-odd ids, with V3.1's chat template.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { byteAlphabet } from "./byte-pair-encoding.ts";

const firstSpecials = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"];

const lastSpecials = [
  ..."User Assistant tool▁calls▁begin tool▁calls▁end tool▁call▁begin tool▁call▁end".split(" "),
  ..."tool▁outputs▁begin tool▁outputs▁end tool▁output▁begin tool▁output▁end tool▁sep".split(" "),
]
  .map((name) => `<｜${name}｜>`)
  .concat("<think>", "</think>");

/** Two-letter tokens and some words built from them; Ġ is the space. */
const merges =
  "t h,Ġ t,h e,i n,e r,a n,o n,Ġ a,Ġt he,r e,a t,e n,o r,Ġ s,e s,t i,o u,Ġ w,i s,i t,l l,a r,Ġ c,o w,an d,in g,Ġ Ġ,ä ¸,he ll,hell o".split(
    ",",
  );

const splitPatterns = [
  "\\p{N}{1,3}",
  "[一-龥\u3040-ゟ゠-ヿ]+",
  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
];

/** V3.1's shape in Jinja, without tools. */
const chatTemplate = `{% if not thinking is defined %}{% set thinking = false %}{% endif %}{{ bos_token }}
{%- for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] }}{% endif %}{% endfor %}
{%- for message in messages %}
{%- if message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}{% endif %}
{%- if message['role'] == 'assistant' %}{{ '<｜Assistant｜></think>' + message['content'].split('</think>')[-1] + '<｜end▁of▁sentence｜>' }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% if thinking %}{{ '<think>' }}{% else %}{{ '</think>' }}{% endif %}{% endif %}`;

const addedToken = (id: number, content: string) => ({
  ...{ id, content, special: true, normalized: false },
  ...{ single_word: false, lstrip: false, rstrip: false },
});

function tinyTokenizerFile(markers: readonly string[]) {
  const tokens = [
    ...firstSpecials,
    ...byteAlphabet,
    ...merges.map((merge) => merge.replace(" ", "")),
    ...lastSpecials,
    ...markers,
  ];
  const specials = new Set([...firstSpecials, ...lastSpecials, ...markers]);
  const ids = new Map(tokens.map((token, id) => [token, id]));
  return {
    version: "1.0",
    added_tokens: tokens.flatMap((content, id) =>
      specials.has(content) ? addedToken(id, content) : [],
    ),
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        ...splitPatterns.map((Regex) => ({
          type: "Split",
          pattern: { Regex },
          behavior: "Isolated",
          invert: false,
        })),
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      vocab: Object.fromEntries([...ids].filter(([token]) => !specials.has(token))),
      merges,
    },
  };
}

const tinyTokenizerConfig = {
  bos_token: firstSpecials[0],
  eos_token: firstSpecials[1],
  chat_template: chatTemplate,
};

/** Writes tokenizer.json, with more `markers` if need be, and tokenizer_config.json into the folder, which it makes. */
export async function writeTinyTokenizer(
  directory: string,
  markers: readonly string[] = [],
): Promise<void> {
  await mkdir(directory, { recursive: true });
  const write = (name: string, value: unknown) =>
    writeFile(join(directory, name), JSON.stringify(value));
  await write("tokenizer.json", tinyTokenizerFile(markers));
  await write("tokenizer_config.json", tinyTokenizerConfig);
}
