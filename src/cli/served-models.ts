import { stat } from "node:fs/promises";
import { usableCores } from "../kernels/index.ts";
import { bytesOf, integerOf, present, textIf, textOf, UsageError } from "./arguments.ts";
import { checkedEngineOf, withPackedWeights } from "./engine-options.ts";
import { scalePolicyOf } from "./scale-policy.ts";
import { scheduleOf } from "./scale-schedule.ts";
import type { ModelOptions } from "./serving.ts";

type Flags = Readonly<Record<string, unknown>>;

/** Flags that a model may have for itself. */
const ownFlags = [
  ...["topology", "policy", "kv-memory", "threads", "max-model-len", "chat-template"],
  ...[
    "scale-schedule",
    "scale-policy",
    "experts",
    "placement",
    "redundant-experts",
    "expert-loads",
  ],
] as const;

export const servedModelsHelp =
  "Checkpoint folder (Hugging Face layout), or org/name that was pulled. Of several models each: " +
  `NAME=DIR[,FLAG=VALUE…], where FLAG is that model's own ${ownFlags.join(", ")}`;

/** A model with a name, and its own flags as they were typed. */
export interface NamedModel {
  readonly name: string;
  readonly directory: string;
  readonly own: Readonly<Record<string, string>>;
}

/** A comma that a flag of the model follows; others are part of what is before. */
const separator = new RegExp(`,(?=(?:${ownFlags.join("|")})=)`);

/**
 * `NAME=DIR[,FLAG=VALUE…]`; undefined for a folder alone, which also is whatever is the path of a folder
 * or file that exists, and what begins as a path does.
 * @throws UsageError naming the part that is wrong
 */
export async function parseNamedModel(text: string): Promise<NamedModel | undefined> {
  const [, name, rest] = /^([\p{L}\p{N}][^=,]*)=(.*)$/su.exec(text) ?? [];
  if (name === undefined || (await exists(text))) return undefined;
  const [directory, ...parts] = rest.split(separator);
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

/** The models that `--model` names. Of folders without a name the last counts, as of other flags. */
export async function modelsOf(flags: Flags): Promise<ModelOptions[]> {
  const given = [flags["model"]].flat().map((value) => textOf("model", value));
  const parsed = await Promise.all(given.map(parseNamedModel));
  const named = parsed.filter((model) => model !== undefined);
  if (named.length === 0) return [await oneModel(flags, given.at(-1))];
  const unnamed = given.find((_, index) => parsed[index] === undefined);
  if (unnamed !== undefined) {
    throw new UsageError(`--model: of several models each has a name: NAME=DIR, got ${unnamed}`);
  }
  expectPossible(flags, named);
  const own = named.map((model) => flagsOf(model, flags, named));
  const checked: ModelOptions[] = [];
  for (const [index, { name }] of named.entries()) {
    checked.push({ ...(await ofModel(name, modelOf(own[index]))), names: [name] });
  }
  const models = named.length === 1 ? checked : withSharedCores(checked);
  const packed: ModelOptions[] = [];
  // One after the other, since each may write a file as large as its weights.
  for (const [index, model] of models.entries()) {
    packed.push({ ...model, engine: await withPackedWeights(own[index], model.engine) });
  }
  return packed;
}

async function oneModel(flags: Flags, directory: string | undefined): Promise<ModelOptions> {
  const own = { ...flags, model: directory };
  const names = textIf(flags, "served-model-name")?.split(",");
  const model = await modelOf(own);
  return { ...model, ...present({ names }), engine: await withPackedWeights(own, model.engine) };
}

/** What flags say of one model. */
async function modelOf(flags: Flags): Promise<ModelOptions> {
  const { maxModelLen } = flags;
  return {
    engine: await checkedEngineOf(flags),
    ...(maxModelLen !== undefined && {
      maxModelLen: integerOf("max-model-len", maxModelLen, 2, 2 ** 31 - 1),
    }),
    ...present({
      chatTemplate: textIf(flags, "chat-template"),
      schedule: await scheduleOf(flags),
      scalePolicy: scalePolicyOf(flags),
    }),
  };
}

/** @throws UsageError naming the flag that makes no sense, or not yet, beside these models */
function expectPossible(flags: Flags, models: readonly NamedModel[]): void {
  if (flags["servedModelName"] !== undefined) {
    throw new UsageError("--served-model-name: --model has the name already: NAME=DIR");
  }
  const names = models.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) < index);
  if (twice !== undefined) throw new UsageError(`--model: the name ${twice} is given twice`);
  if (models.length === 1) return;
  for (const flag of ["listen", "trace"]) {
    if (flags[flag] === undefined) continue;
    throw new UsageError(`--${flag}: expected one --model beside it, got ${names.join(", ")}`);
  }
}

/** A model's own flags go before those of all, which share `--kv-memory` in equal parts. */
function flagsOf(model: NamedModel, flags: Flags, models: readonly NamedModel[]): Flags {
  const sharers = models.filter(({ own }) => own["kv-memory"] === undefined).length;
  const kvMemory = Math.floor(bytesOf("kv-memory", flags["kvMemory"]) / Math.max(1, sharers));
  const own = Object.entries(model.own).map(([flag, value]) => [camelCase(flag), value]);
  return { ...flags, kvMemory, model: model.directory, ...Object.fromEntries(own) };
}

const camelCase = (flag: string) =>
  flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());

/** Each rank has as many compute threads as there are cores for every rank of every model. */
function withSharedCores(models: readonly ModelOptions[]): ModelOptions[] {
  const ranks = models.reduce((sum, { engine }) => sum + (engine.topology?.ranks ?? 1), 0);
  const most = Math.max(1, Math.floor(usableCores() / ranks));
  return models.map((model) => {
    const threads = Math.min(model.engine.threads ?? 1, most);
    return { ...model, engine: { ...model.engine, threads } };
  });
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
