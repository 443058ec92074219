import { readFileSync } from "node:fs";
import type { ClusterIdentity } from "../../cluster/index.ts";
import { createKernels, type Policy } from "../../kernels/index.ts";
import { numericIdentity } from "../../model/index.ts";

/** Of daysix, as package.json says. */
export const { version } = JSON.parse(
  readFileSync(new URL("../../../package.json", import.meta.url), "utf8"),
) as { version: string };

/** What the nodes of a cluster must have in common. */
export async function fleetIdentity(
  modelDirectory: string,
  policy: Policy,
): Promise<ClusterIdentity> {
  const kernels = createKernels();
  const identity = await numericIdentity(modelDirectory, { kernels, policy });
  return {
    modelHash: identity.modelHash,
    policy,
    instructionSet: `${identity.kernels} ${identity.instructionSet}`,
    version,
  };
}
