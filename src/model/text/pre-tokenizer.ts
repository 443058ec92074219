/**
 * Pre-tokenisation: a text is cut into pieces that byte-pair encoding may not cross, stage by stage (DeepSeek-V3:
 * digits in threes, CJK runs, words with their leading space). Regular expressions in tokenizer.json are
 * Oniguruma's; @huggingface/tokenizers translates them (JavaScript's own `\s` has U+FEFF and lacks U+0085).
 */
import { SplitPreTokenizer } from "@huggingface/tokenizers";
import { type PreTokenizerStage, TokenizerError } from "./tokenizer-file.ts";

/** Calls `visit` with each piece in order until it returns false. The pieces joined are the text. */
export type PreTokenizer = (text: string, visit: (piece: string) => boolean) => void;

/** @throws TokenizerError where a stage's pattern cannot be used. */
export function createPreTokenizer(stages: readonly PreTokenizerStage[]): PreTokenizer {
  return preTokenizerOf(stages.flatMap((stage) => stagePattern(stage) ?? []));
}

function preTokenizerOf(patterns: readonly RegExp[]): PreTokenizer {
  return (text, visit) => {
    let start = 0;
    while (start < text.length) start = visitWindow(text, start, patterns, visit);
  };
}

/**
 * Kimi's pattern, which its tokenizer has in Python: runs of Han, words that begin with capitals or end in
 * small letters, digits in threes. JavaScript has no `(?i:…)`; ſ is an s to it.
 */
const KIMI_ENDING = "(?:'(?:[sSſ]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD]))?";
const KIMI_HEAD = "[[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]--\\p{Script=Han}]";
const KIMI_TAIL = "[[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]--\\p{Script=Han}]";
const KIMI_PATTERN = new RegExp(
  [
    "\\p{Script=Han}+",
    `[^\\r\\n\\p{L}\\p{N}]?${KIMI_HEAD}*${KIMI_TAIL}+${KIMI_ENDING}`,
    `[^\\r\\n\\p{L}\\p{N}]?${KIMI_HEAD}+${KIMI_TAIL}*${KIMI_ENDING}`,
    "\\p{N}{1,3}",
    " ?[^\\p{White_Space}\\p{L}\\p{N}]+[\\r\\n]*",
    "\\p{White_Space}*[\\r\\n]+",
    "\\p{White_Space}+(?!\\P{White_Space})",
    "\\p{White_Space}+",
  ].join("|"),
  "gv",
);

export const kimiPieces = preTokenizerOf([KIMI_PATTERN]);

/** What a stage isolates; undefined for a stage that cuts nothing. */
function stagePattern(stage: PreTokenizerStage): RegExp | undefined {
  switch (stage.type) {
    case "Split": {
      const { pattern } = new SplitPreTokenizer({ ...stage, invert: false });
      if (pattern && !pattern.test("")) return pattern;
      throw new TokenizerError(`pre_tokenizer: ${JSON.stringify(stage.pattern)} matches nothing`);
    }
    case "Digits":
      return stage.individual_digits ? /\p{N}/gu : /\p{N}+/gu;
    default:
      return stage.use_regex ? GPT2_PATTERN : undefined;
  }
}

const GPT2_PATTERN =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** Characters matched against at once: a regular expression overflows its stack on a run of several million. */
const WINDOW = 2 ** 20;

/**
 * Visits the pieces of the window that begins at `start`, itself a piece's beginning, and returns where the next
 * window begins. The last piece may go on beyond the window, so it is left to the next; only a piece longer than a
 * window is cut.
 */
function visitWindow(
  text: string,
  start: number,
  patterns: readonly RegExp[],
  visit: (piece: string) => boolean,
): number {
  if (text.length - start <= WINDOW) {
    splitFrom(0, text.slice(start), patterns, visit);
    return text.length;
  }
  const cutsPair = (text.charCodeAt(start + WINDOW - 1) & 0xfc00) === 0xd800;
  const window = text.slice(start, start + WINDOW - (cutsPair ? 1 : 0));
  let held = "";
  let end = start;
  const going = splitFrom(0, window, patterns, (piece) => {
    if (held !== "" && !visit(held)) return false;
    end += held.length;
    held = piece;
    return true;
  });
  if (!going) return text.length;
  if (end > start) return end;
  return visit(held) ? start + held.length : text.length;
}

/** Matches and the gaps between them go to the next stage alike. Returns false once `visit` has. */
function splitFrom(
  depth: number,
  text: string,
  patterns: readonly RegExp[],
  visit: (piece: string) => boolean,
): boolean {
  if (depth === patterns.length) return visit(text);
  const pattern = patterns[depth];
  let done = 0;
  while (done < text.length) {
    pattern.lastIndex = done;
    const match = pattern.exec(text);
    const start = match?.index ?? text.length;
    const end = start + (match?.[0].length ?? 0);
    if (start > done && !splitFrom(depth + 1, text.slice(done, start), patterns, visit))
      return false;
    if (end > start && !splitFrom(depth + 1, text.slice(start, end), patterns, visit)) return false;
    if (end === done) throw new RangeError(`pre_tokenizer: ${pattern} matches empty text`);
    done = end;
  }
  return true;
}
