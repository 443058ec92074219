/** What befalls a cluster of processes while it answers, and how that is made good. */
import type { UnitRole } from "../../cluster/index.ts";
import { askServer } from "../../gateway/index.ts";
import type { Draw } from "./chaos-schedule.ts";
import type { ProcessCluster, Way } from "./process-cluster-fixtures.ts";

/** How many units of each role are wanted. */
export type Wanted = Readonly<Partial<Record<UnitRole, number>>>;

export type Blow =
  | { readonly kind: "kill" | "freeze"; readonly node: number }
  /** `cut`: links end; `block`: they pass nothing more. */
  | { readonly kind: "cut" | "block"; readonly node: number; readonly way: Way }
  | { readonly kind: "scale"; readonly wanted: Wanted };

/** @param most so many units of each role the cluster has nodes for */
export function drawBlow(draw: Draw, others: number, most: Wanted): Blow {
  const kinds = ["kill", "kill", "freeze", "cut", "cut", "block", "scale", "scale"] as const;
  const kind = draw.oneOf(kinds);
  const node = draw.between(1, others);
  if (kind === "kill" || kind === "freeze") return { kind, node };
  if (kind !== "scale") return { kind, node, way: draw.oneOf(["server", "server", "later"]) };
  const roles = Object.entries(most).map(([role, count]) => [role, draw.between(1, count)]);
  return { kind, wanted: Object.fromEntries(roles) as Wanted };
}

export async function strike(cluster: ProcessCluster, blow: Blow): Promise<void> {
  switch (blow.kind) {
    case "kill":
      cluster.strike(blow.node, "SIGKILL");
      break;
    case "freeze":
      cluster.strike(blow.node, "SIGSTOP");
      break;
    case "cut":
      cluster.way(blow.node, blow.way).cut();
      break;
    case "block":
      cluster.way(blow.node, blow.way).block();
      break;
    case "scale":
      await askServer(cluster.server, "/scale", blow.wanted);
  }
}

/** Who was frozen or cut off joins again by itself, which takes a while. */
export async function heal(cluster: ProcessCluster, blows: readonly Blow[]): Promise<void> {
  for (const blow of blows) {
    if (blow.kind === "freeze") cluster.strike(blow.node, "SIGCONT");
    if (blow.kind === "cut" || blow.kind === "block") cluster.way(blow.node, blow.way).heal();
  }
  for (const node of new Set(blows.flatMap((blow) => (blow.kind === "kill" ? blow.node : [])))) {
    await cluster.replace(node);
  }
}
