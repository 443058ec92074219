import { readFile } from "node:fs/promises";
import { textOf, UsageError } from "./arguments.ts";

/** The variable that a service's environment may hand the key over in. */
const VARIABLE = "DAYSIX_API_KEY";

/**
 * The key that clients must send: of `--api-key`, which everybody on the machine can read, of
 * `--api-key-file`, or of the environment; undefined where none of them is given.
 * @throws UsageError for a key that is empty, or a file without one.
 */
export async function apiKeyOf(
  flags: Readonly<Record<string, unknown>>,
  { argv, env }: Pick<typeof process, "argv" | "env">,
): Promise<string | undefined> {
  const { apiKeyFile } = flags;
  const apiKey = flags["apiKey"] === undefined ? undefined : asTyped(argv);
  if (apiKey !== undefined && apiKeyFile !== undefined) {
    throw new UsageError("--api-key: expected none beside --api-key-file");
  }
  if (apiKey !== undefined) return keyOf(apiKey, "--api-key");
  if (apiKeyFile === undefined) {
    const key = env[VARIABLE];
    return key === undefined ? undefined : keyOf(key, VARIABLE);
  }
  const path = textOf("api-key-file", apiKeyFile);
  const text = await readFile(path, "utf8").catch((error: Error) => {
    throw new UsageError(`--api-key-file: ${error.message}`);
  });
  return keyOf(text.trim(), `--api-key-file: ${path}`);
}

/** The parser knows both spellings. */
const option = /^--(?:api-key|apiKey)(?:=|$)/;

/** The parser takes `0123` for a number, and nothing at all for 0. */
function asTyped(argv: readonly string[]): string {
  const at = argv.findLastIndex((each) => option.test(each));
  const typed = argv[at] ?? "";
  const key = typed.includes("=") ? typed.replace(option, "") : argv[at + 1];
  if (at >= 0 && key !== undefined) return key;
  throw new UsageError("--api-key: expected --api-key KEY");
}

/** A header carries it: no blanks, no line breaks. */
function keyOf(key: string, where: string): string {
  if (/^[!-~]+$/.test(key)) return key;
  const got = key === "" ? "nothing" : `${key.length} characters with others among them`;
  throw new UsageError(`${where}: expected a key of printable ASCII characters, got ${got}`);
}
