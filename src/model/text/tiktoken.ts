/** tiktoken.model, as Kimi and Moonlight have it: a token's bytes in base64 and its rank, line by line. */
import { type BytePairModel, type Merge, NO_TOKEN } from "./byte-pair-encoding.ts";
import { MOST_TOKEN_ID, readTokenizerBytes, TokenizerError } from "./tokenizer-file.ts";

/** Ids by tokens' bytes as Latin-1. @throws TokenizerError naming file and line */
export async function readRanks(path: string): Promise<Map<string, number>> {
  const ranks = new Map<string, number>();
  const lines = (await readTokenizerBytes(path)).toString("latin1").split("\n");
  for (const [i, line] of lines.entries()) {
    if (line.trim() === "") continue;
    const [, base64, rank] = /^([A-Za-z0-9+/]+={0,2}) (\d{1,7})\r?$/.exec(line) ?? [];
    if (base64 === undefined || Number(rank) > MOST_TOKEN_ID) {
      throw new TokenizerError(`${path}: line ${i + 1}: expected a token in base64 and its rank`);
    }
    ranks.set(Buffer.from(base64, "base64").toString("latin1"), Number(rank));
  }
  if (ranks.size === 0) throw new TokenizerError(`${path}: has no tokens`);
  return ranks;
}

/** A pair merges wherever it makes a token, of the lowest rank first; a piece that is a token stays whole. */
export function tiktokenModel(ranks: ReadonlyMap<string, number>): BytePairModel {
  const merges: Merge[] = [];
  for (const [token, rank] of ranks) {
    for (let at = 1; at < token.length; at++) {
      const left = ranks.get(token.slice(0, at));
      const right = left === undefined ? undefined : ranks.get(token.slice(at));
      if (left !== undefined && right !== undefined) {
        merges.push({ left, right, merged: rank, rank });
      }
    }
  }
  const byteTokens = Int32Array.from({ length: 256 }, (_, byte) => {
    return ranks.get(String.fromCharCode(byte)) ?? NO_TOKEN;
  });
  return { byteTokens, merges, wholePieces: ranks };
}
