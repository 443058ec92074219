/** What a tokenizer is made of, from the files in which model folders keep it. */
import { byteAlphabet, type BytePairModel, type Merge, NO_TOKEN } from "./byte-pair-encoding.ts";
import { createPreTokenizer, kimiPieces, type PreTokenizer } from "./pre-tokenizer.ts";
import { readRanks, tiktokenModel } from "./tiktoken.ts";
import {
  hasTokenizer,
  readTokenizerConfig,
  readTokenizerFile,
  type TokenizerConfig,
  TokenizerError,
  type TokenizerFile,
  tokenizerPath,
} from "./tokenizer-file.ts";
import type { VocabularyTables } from "./vocabulary.ts";

export interface TokenizerParts {
  readonly pieces: PreTokenizer;
  readonly model: BytePairModel;
  readonly tables: VocabularyTables;
  /** Whether prompts begin with the begin-of-sentence token, if there is one. */
  readonly begins: boolean;
}

/** @throws TokenizerError naming the file that is missing or malformed, or the field not supported */
export async function readTokenizer(directory: string): Promise<TokenizerParts> {
  const path = await tokenizerPath(directory);
  const config = await readTokenizerConfig(directory);
  const begins = config.add_bos_token ?? true;
  const parts = path.endsWith(".json")
    ? jsonParts(await readTokenizerFile(path), config)
    : tiktokenParts(await readRanks(path), config);
  try {
    return { begins, ...parts() };
  } catch (cause) {
    throw new TokenizerError(`${path}: ${(cause as Error).message}`, { cause });
  }
}

/** The end-of-sentence token, where the folder's tokenizer names one. */
export async function endToken(directory: string): Promise<number | undefined> {
  return (await hasTokenizer(directory)) ? (await readTokenizer(directory)).tables.eos : undefined;
}

type MakeParts = () => Omit<TokenizerParts, "begins">;

function jsonParts(file: TokenizerFile, config: TokenizerConfig): MakeParts {
  const { model, pre_tokenizer, added_tokens } = file;
  return () => {
    const tokens = Object.entries(model.vocab).map(([token, id]) => [bytesOf(token), id] as const);
    return {
      pieces: createPreTokenizer(pre_tokenizer),
      model: bytePairModel(model),
      tables: vocabularyTables(tokens, added_tokens, config),
    };
  };
}

function tiktokenParts(ranks: ReadonlyMap<string, number>, config: TokenizerConfig): MakeParts {
  const tokens = [...ranks].map(([bytes, id]) => [Buffer.from(bytes, "latin1"), id] as const);
  const added = Object.entries(config.added_tokens_decoder ?? {}).map(([id, { content }]) => {
    return { id: Number(id), content };
  });
  return () => ({
    pieces: kimiPieces,
    model: tiktokenModel(ranks),
    tables: vocabularyTables(tokens, added, config),
  });
}

function bytePairModel({ vocab, merges, ignore_merges }: TokenizerFile["model"]): BytePairModel {
  const ids = new Map(Object.entries(vocab));
  const idOf = (token: string, field: string): number => {
    const id = ids.get(token);
    if (id === undefined) throw new TokenizerError(`model.${field}: the vocabulary lacks ${token}`);
    return id;
  };
  return {
    byteTokens: Int32Array.from(byteAlphabet, (character) => ids.get(character) ?? NO_TOKEN),
    merges: merges.map((merge, rank): Merge => {
      const [left, right] = typeof merge === "string" ? merge.split(" ", 2) : merge;
      const field = `merges.${rank}`;
      return {
        left: idOf(left, field),
        right: idOf(right, field),
        merged: idOf(left + right, field),
        rank,
      };
    }),
    wholePieces: ignore_merges
      ? new Map([...ids].map(([token, id]) => [bytesOf(token).toString("latin1"), id]))
      : undefined,
  };
}

const alphabetBytes: ReadonlyMap<string, number> = new Map(
  byteAlphabet.map((character, byte) => [character, byte]),
);

/** The bytes that a token of the vocabulary stands for; one not spelt in the byte alphabet is its own text. */
function bytesOf(token: string): Buffer {
  const bytes = Array.from(token, (character) => alphabetBytes.get(character) ?? -1);
  return bytes.includes(-1) ? Buffer.from(token) : Buffer.from(bytes);
}

function vocabularyTables(
  tokens: readonly (readonly [bytes: Uint8Array, id: number])[],
  added: readonly { readonly id: number; readonly content: string }[],
  { bos_token, eos_token }: TokenizerConfig,
): VocabularyTables {
  const bytesById: Uint8Array[] = [];
  for (const [bytes, id] of tokens) bytesById[id] = bytes;
  for (const { content, id } of added) bytesById[id] = Buffer.from(content);
  // Where no token has an id, it has no bytes.
  const bytes = Array.from(bytesById, (token) => token ?? new Uint8Array(0));
  const offsets = new Int32Array(bytes.length + 1);
  bytes.forEach((token, id) => (offsets[id + 1] = offsets[id] + token.length));
  const specials = new Map(added.map(({ content, id }) => [content, id]));
  return {
    bytes: Buffer.concat(bytes),
    offsets,
    specials: [...specials],
    bos: specials.get(bos_token ?? ""),
    eos: specials.get(eos_token ?? ""),
  };
}
