import { stat } from "node:fs/promises";
import { textOf, UsageError } from "./arguments.ts";

type Flags = Readonly<Record<string, unknown>>;

/** A model with a name, and its own flags as they were typed. */
export interface NamedModel {
  readonly name: string;
  readonly directory: string;
  readonly own: Readonly<Record<string, string>>;
}

/**
 * The models that `--model` names, or the folder of one without a name: of several such the last counts, as of
 * other flags. `ownFlags`: what may be said of a model.
 */
export async function namedModelsOf(
  flags: Flags,
  ownFlags: readonly string[],
): Promise<NamedModel[] | string> {
  const given = [flags["model"]].flat().map((value) => textOf("model", value));
  const parsed = await Promise.all(given.map((text) => parseNamedModel(text, ownFlags)));
  const named = parsed.filter((model) => model !== undefined);
  if (named.length === 0) return given[given.length - 1];
  const unnamed = given.find((_, index) => parsed[index] === undefined);
  if (unnamed !== undefined) {
    throw new UsageError(`--model: of several models each has a name: NAME=DIR, got ${unnamed}`);
  }
  const names = named.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) < index);
  if (twice !== undefined) throw new UsageError(`--model: the name ${twice} is given twice`);
  return named;
}

/**
 * `NAME=DIR[,FLAG=VALUE…]`; undefined for a folder alone, which also is whatever is the path of a folder
 * or file that exists, and what begins as a path does.
 * @throws UsageError naming the part that is wrong
 */
export async function parseNamedModel(
  text: string,
  ownFlags: readonly string[],
): Promise<NamedModel | undefined> {
  const [, name, rest] = /^([\p{L}\p{N}][^=,]*)=(.*)$/su.exec(text) ?? [];
  if (name === undefined || (await exists(text))) return undefined;
  // A comma that a flag of the model follows; others are part of what is before.
  const [directory, ...parts] = rest.split(new RegExp(`,(?=(?:${ownFlags.join("|")})=)`));
  if (directory === "") throw new UsageError(`--model ${name}: expected ${name}=DIR, got ${text}`);
  const [, unknown] = /,([\w-]+)=/.exec(directory) ?? [];
  if (unknown !== undefined && !(await exists(directory))) {
    const expected = `expected ${ownFlags.join(", ")}`;
    throw new UsageError(`--model ${name}: ${expected} after the folder, got ${unknown}`);
  }
  const own: Record<string, string> = {};
  for (const part of parts) {
    const flag = part.slice(0, part.indexOf("="));
    if (flag in own) throw new UsageError(`--model ${name}: ${flag} is given twice`);
    own[flag] = part.slice(flag.length + 1);
  }
  return { name, directory, own };
}

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

/** A model's own flags as cac would have them. */
export function ownFlagsOf({ own }: NamedModel): Flags {
  const camelCase = (flag: string) =>
    flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
  return Object.fromEntries(Object.entries(own).map(([flag, value]) => [camelCase(flag), value]));
}

/** Errors say which model's they are. */
export async function ofModel<T>(name: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const message = `--model ${name}: ${(error as Error).message}`;
    throw error instanceof UsageError
      ? new UsageError(message)
      : new Error(message, { cause: error });
  }
}
