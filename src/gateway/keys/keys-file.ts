import { readFile } from "node:fs/promises";
import { z } from "zod";
import { parseDollars, type Picodollars } from "../billing/index.ts";
import { digestOf } from "./digest.ts";

const dollars = z.string().transform((text, context): Picodollars => {
  const parsed = parseDollars(text);
  if (parsed !== undefined) return parsed;
  context.addIssue("expected dollars such as 5 or 0.25");
  return z.NEVER;
});

const namedKey = z.strictObject({
  name: z.string().regex(/^[\w.@-]{1,64}$/, "expected up to 64 letters, digits, _ . @ -"),
  /** Of the key's bytes, in hex. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "expected 64 digits of a SHA-256, in small letters"),
  /** Requests at a time. */
  concurrency: z.int().min(1).optional(),
  /** Prompt and answer together. */
  tokens_per_minute: z.int().min(1).optional(),
  budget: z.strictObject({ dollars, per: z.enum(["day", "month"]) }).optional(),
  /** May also say how many units serve, and where experts lie. */
  operator: z.boolean().optional(),
});

const keysFile = z.strictObject({ keys: z.array(namedKey).min(1) });

/** A key that has a name, and what may be asked with it. */
export type NamedKey = z.output<typeof namedKey>;

/** A file of keys that cannot be used; the message names the file and the field. */
export class KeysFileError extends Error {
  override readonly name = "KeysFileError";
}

/** @throws KeysFileError */
export async function readKeysFile(path: string): Promise<readonly NamedKey[]> {
  const refuse = (problem: string): never => {
    throw new KeysFileError(`${path}: ${problem}`);
  };
  const text = await readFile(path, "utf8").catch((error: Error) => refuse(error.message));
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return refuse(`expected JSON: ${(error as Error).message}`);
  }
  const { data, error } = keysFile.safeParse(json);
  if (!data) {
    const [issue] = error.issues;
    return refuse(`${z.core.toDotPath(issue.path)}: ${issue.message}`);
  }
  const { keys } = data;
  for (const field of ["name", "sha256"] as const) {
    const values = keys.map((key) => key[field]);
    const again = values.findIndex((value, index) => values.indexOf(value) < index);
    if (again >= 0) refuse(`keys[${again}].${field}: another key has the same`);
  }
  const empty = keys.findIndex(({ sha256 }) => sha256 === digestOf(""));
  if (empty >= 0) refuse(`keys[${empty}].sha256: of the empty key`);
  return keys;
}
