/** A placement that cannot be used; the message says where it is wrong. */
export class PlacementError extends Error {
  override readonly name = "PlacementError";
}

/** Where one layer's physical experts lie: slot s of rank r holds physical expert r × slots + s. */
export interface LayerPlacement {
  readonly ranks: number;
  /** Physical experts of a rank. */
  readonly slots: number;
  /** Logical expert of each physical one. [ranks × slots] */
  readonly physicalToLogical: Int32Array;
  /** Physical experts of each logical one, ascending. */
  readonly replicas: readonly (readonly number[])[];
}

/**
 * Checks a map from physical to logical experts: as many slots on every rank, every logical expert
 * somewhere.
 * @throws PlacementError
 */
export function layerPlacement(
  physicalToLogical: readonly number[],
  experts: number,
  ranks: number,
): LayerPlacement {
  const physical = physicalToLogical.length;
  if (physical % ranks !== 0) {
    throw new PlacementError(`${physical} physical experts do not divide over ${ranks} ranks`);
  }
  const replicas = Array.from({ length: experts }, (): number[] => []);
  for (const [place, logical] of physicalToLogical.entries()) {
    if (!replicas[logical]) {
      throw new PlacementError(`expected logical experts below ${experts}, got ${logical}`);
    }
    replicas[logical].push(place);
  }
  const missing = replicas.findIndex((places) => places.length === 0);
  if (missing >= 0) throw new PlacementError(`logical expert ${missing} is nowhere`);
  return {
    ranks,
    slots: physical / ranks,
    physicalToLogical: Int32Array.from(physicalToLogical),
    replicas,
  };
}

/** Experts in order over the ranks; slots beyond the last expert begin again with the first. */
export function orderedPlacement(
  experts: number,
  ranks: number,
  physical = experts,
): LayerPlacement {
  const slots = Math.ceil(physical / ranks);
  const map = Array.from({ length: slots * ranks }, (_, place) => place % experts);
  return layerPlacement(map, experts, ranks);
}
