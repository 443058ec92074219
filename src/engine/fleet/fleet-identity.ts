import { readFileSync } from "node:fs";
import type { ClusterIdentity } from "../../cluster/index.ts";
import { createKernels, type Policy } from "../../kernels/index.ts";
import {
  modelIdentity,
  numericIdentity,
  type HashedBytes,
  type ModelIdentity,
} from "../../model/index.ts";

/** Of daysix, as package.json says. */
export const { version } = JSON.parse(
  readFileSync(new URL("../../../package.json", import.meta.url), "utf8"),
) as { version: string };

/** A model's identity, read from its files when it is first asked for: a large one's take seconds. */
export class ReadIdentity {
  readonly #read: () => Promise<ModelIdentity>;
  #identity: Promise<ModelIdentity> | undefined;

  constructor(modelDirectory: string, modelBytes: HashedBytes) {
    this.#read = () => modelIdentity(modelDirectory, modelBytes);
  }

  /** @throws CheckpointError naming the file that could not be hashed */
  get(): Promise<ModelIdentity> {
    return (this.#identity ??= this.#read());
  }
}

/** What the nodes of a cluster must have in common. */
export function fleetIdentity(model: ModelIdentity, policy: Policy): ClusterIdentity {
  return { ...numericIdentity(model, { kernels: createKernels(), policy }), version };
}
