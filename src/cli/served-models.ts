import { bytesOf, integerOf, present, textIf, UsageError } from "./arguments.ts";
import { sharingCores } from "./compute-threads.ts";
import { checkedEngineOf, withPackedWeights } from "./engine-options.ts";
import { type NamedModel, namedModelsOf, ofModel, ownFlagsOf } from "./named-models.ts";
import { scalePolicyOf } from "./scale-policy.ts";
import { scheduleOf } from "./scale-schedule.ts";
import type { ModelOptions } from "./serving.ts";

type Flags = Readonly<Record<string, unknown>>;

/** Flags that a model may have for itself. */
const ownFlags = [
  ...["topology", "nodes", "policy", "kv-memory", "threads", "max-model-len", "chat-template"],
  ...["scale-schedule", "scale-policy", "experts", "placement", "redundant-experts"],
  "expert-loads",
] as const;

export const servedModelsHelp =
  "Checkpoint folder (Hugging Face layout), or org/name that was pulled. Of several models each: " +
  `NAME=DIR[,FLAG=VALUE…], where FLAG is that model's own ${ownFlags.join(", ")}`;

/** The models that `--model` names. Of folders without a name the last counts, as of other flags. */
export async function modelsOf(flags: Flags): Promise<ModelOptions[]> {
  const named = await namedModelsOf(flags, ownFlags);
  if (typeof named === "string") return [await oneModel(flags, named)];
  expectPossible(flags, named);
  const own = named.map((model) => flagsOf(model, flags, named));
  const checked: ModelOptions[] = [];
  for (const [index, { name }] of named.entries()) {
    checked.push({ ...(await ofModel(name, modelOf(own[index]))), names: [name] });
  }
  const packed: ModelOptions[] = [];
  // One after the other, since each may write a file as large as its weights.
  for (const [index, model] of sharingCores(checked).entries()) {
    packed.push({ ...model, engine: await withPackedWeights(own[index], model.engine) });
  }
  return packed;
}

async function oneModel(flags: Flags, directory: string): Promise<ModelOptions> {
  const own = { ...flags, model: directory };
  const names = textIf(flags, "served-model-name")?.split(",");
  const [model] = sharingCores([await modelOf(own)]);
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
  if (models.length > 1 && flags["trace"] !== undefined) {
    const names = models.map(({ name }) => name).join(", ");
    throw new UsageError(`--trace: expected one --model beside it, got ${names}`);
  }
}

/** A model's own flags go before those of all, which share `--kv-memory` in equal parts. */
function flagsOf(model: NamedModel, flags: Flags, models: readonly NamedModel[]): Flags {
  const sharers = models.filter(({ own }) => own["kv-memory"] === undefined).length;
  const kvMemory = Math.floor(bytesOf("kv-memory", flags["kvMemory"]) / Math.max(1, sharers));
  // A model that is on this node alone has no others to wait for.
  const listen = model.own["nodes"] === "1" ? undefined : flags["listen"];
  const own = ownFlagsOf(model);
  const { scaleSchedule, scalePolicy, ...others } = flags;
  const isScaled = "scaleSchedule" in own || "scalePolicy" in own;
  const scaling = isScaled ? {} : { scaleSchedule, scalePolicy };
  return { ...others, ...scaling, kvMemory, listen, model: model.directory, ...own };
}
