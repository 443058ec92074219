import { readFileSync } from "node:fs";
import type { ClusterIdentity } from "../../cluster/index.ts";
import { createKernels, type Policy } from "../../kernels/index.ts";
import { numericIdentity, type ModelIdentity } from "../../model/index.ts";

/** Of daysix, as package.json says. */
export const { version } = JSON.parse(
  readFileSync(new URL("../../../package.json", import.meta.url), "utf8"),
) as { version: string };

/** What the nodes of a cluster must have in common. */
export function fleetIdentity(model: ModelIdentity, policy: Policy): ClusterIdentity {
  // The coordinator says which modes the nodes' kernels have.
  const { modes: _, ...numbers } = numericIdentity(model, { kernels: createKernels(), policy });
  return { ...numbers, version };
}
