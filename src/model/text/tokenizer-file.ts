/**
 * tokenizer.json and tokenizer_config.json: the fields in use; other fields are refused by name. In place of the
 * former a folder may have tiktoken.model.
 */
import { access } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { untilFirstFault } from "../first-fault.ts";
import { parseModelJson, readModelFile } from "../model-file.ts";

/** A tokenizer folder that lacks a file or asks for what is not implemented; the message names file and field. */
export class TokenizerError extends Error {
  override readonly name = "TokenizerError";
}

const FILES = ["tokenizer.json", "tiktoken.model"] as const;
const CONFIG_FILE = "tokenizer_config.json";

/** Four times the largest published. */
const MOST_FILE_BYTES = 64 * 2 ** 20;

/** Tables are as long as the highest id; published vocabularies end at a quarter of this. */
export const MOST_TOKEN_ID = 2 ** 20;
const tokenId = z.int().min(0).max(MOST_TOKEN_ID);

/** Refused where given, for it would change tokens. */
const never = z.literal([false, null, ""]).optional();

const stage = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("Split"),
    pattern: z.union([z.object({ Regex: z.string() }), z.object({ String: z.string() })]),
    behavior: z.literal("Isolated"),
  }),
  z.object({ type: z.literal("Digits"), individual_digits: z.boolean() }),
  z.object({
    type: z.literal("ByteLevel"),
    add_prefix_space: never,
    use_regex: z.boolean().default(true),
  }),
]);

const stages = z
  .discriminatedUnion("type", [
    ...stage.options,
    z.object({ type: z.literal("Sequence"), pretokenizers: z.array(stage) }),
  ])
  .transform((value) => (value.type === "Sequence" ? value.pretokenizers : [value]))
  .refine((value) => value.at(-1)?.type === "ByteLevel", "expected ByteLevel as the last stage");

const tokenizerFile = z.object({
  normalizer: z
    .object({ type: z.literal("Sequence"), normalizers: z.array(z.unknown()).max(0) })
    .nullish(),
  pre_tokenizer: stages,
  added_tokens: z
    .array(
      z.object({
        id: tokenId,
        content: z.string().min(1),
        lstrip: never,
        rstrip: never,
        single_word: never,
      }),
    )
    .default([]),
  model: z.object({
    type: z.literal("BPE"),
    vocab: z.record(z.string(), tokenId),
    merges: z.array(z.union([z.string(), z.tuple([z.string(), z.string()])])),
    /** A piece that is a token as it stands is not merged. */
    ignore_merges: z.boolean().default(false),
    byte_fallback: never,
    continuing_subword_prefix: never,
    end_of_word_suffix: never,
  }),
});

const namedToken = z
  .union([z.string(), z.object({ content: z.string() }).transform((token) => token.content)])
  .nullish();

const tokenizerConfig = z.object({
  bos_token: namedToken,
  eos_token: namedToken,
  add_bos_token: z.boolean().nullish(),
  /** What tiktoken.model lacks; tokenizer.json has its own list. */
  added_tokens_decoder: z
    .record(
      z.string().regex(/^\d{1,6}$/),
      z.object({ content: z.string().min(1), lstrip: never, rstrip: never, single_word: never }),
    )
    .nullish(),
});

export type PreTokenizerStage = z.infer<typeof stage>;
export type TokenizerFile = z.infer<typeof tokenizerFile>;
export type TokenizerConfig = z.infer<typeof tokenizerConfig>;

/** Whether the folder has a tokenizer; a model without one can still be run on token ids. */
export async function hasTokenizer(directory: string): Promise<boolean> {
  return exists(await tokenizerPath(directory));
}

/** The file that holds the vocabulary; where there is none, the one that is looked for first. */
export async function tokenizerPath(directory: string): Promise<string> {
  const paths = FILES.map((name) => join(directory, name));
  for (const path of paths) if (await exists(path)) return path;
  return paths[0];
}

/** @throws TokenizerError */
export async function readTokenizerFile(path: string): Promise<TokenizerFile> {
  return parse(tokenizerFile, await readJson(path), path);
}

/** @throws TokenizerError */
export async function readTokenizerConfig(directory: string): Promise<TokenizerConfig> {
  const path = join(directory, CONFIG_FILE);
  return parse(tokenizerConfig, (await exists(path)) ? await readJson(path) : {}, path);
}

async function readJson(path: string): Promise<unknown> {
  const bytes = await readTokenizerBytes(path);
  try {
    return parseModelJson(bytes, path);
  } catch (cause) {
    throw new TokenizerError((cause as Error).message, { cause });
  }
}

/** @throws TokenizerError */
export async function readTokenizerBytes(path: string): Promise<Buffer> {
  try {
    return await readModelFile(path, MOST_FILE_BYTES);
  } catch (cause) {
    const { message } = cause as Error;
    throw new TokenizerError(message.includes(path) ? message : `${path}: ${message}`, { cause });
  }
}

function parse<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  path: string,
): z.output<Schema> {
  const result = schema.safeParse(value, untilFirstFault);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new TokenizerError(`${path}: ${issue.path.join(".")}: ${issue.message}`);
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );
