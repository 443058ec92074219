import type { UnitRole } from "../../cluster/index.ts";
import type { RankFleet, WantedUnits } from "../fleet/index.ts";

/** How many units of a role were wanted before and after it was said, and why. */
export interface ScaleChange {
  /** Milliseconds of the engine's events. */
  readonly time: number;
  readonly role: UnitRole;
  readonly from: number;
  readonly to: number;
  readonly because: string;
}

/** Changes that are remembered; all are counted. */
const KEPT = 16;

/** How many units are wanted, and how that came about. */
export class UnitScaling {
  readonly #fleet: () => Pick<RankFleet, "scale" | "wanted" | "room">;
  readonly #now: () => number;
  readonly #observer: { readonly scaled?: (change: ScaleChange) => void };
  readonly #last: ScaleChange[] = [];
  readonly #ups = new Map<UnitRole, number>();
  readonly #downs = new Map<UnitRole, number>();

  constructor(
    fleet: () => Pick<RankFleet, "scale" | "wanted" | "room">,
    now: () => number,
    observer: { readonly scaled?: (change: ScaleChange) => void },
  ) {
    this.#fleet = fleet;
    this.#now = now;
    this.#observer = observer;
  }

  get wanted(): WantedUnits {
    return this.#fleet().wanted;
  }

  /** Ranks that there is memory for beside those that there are, as far as this machine knows. */
  get room(): number {
    return this.#fleet().room;
  }

  /** The last changes, oldest first. */
  get changes(): readonly ScaleChange[] {
    return [...this.#last];
  }

  /** Since the start: how often more units of a role were wanted than before, and fewer. */
  countsOf(role: UnitRole): { readonly up: number; readonly down: number } {
    return { up: this.#ups.get(role) ?? 0, down: this.#downs.get(role) ?? 0 };
  }

  /** @throws RangeError where that makes no sense; then nothing changes */
  scale(asked: WantedUnits, because: string): void {
    const before = this.wanted;
    this.#fleet().scale(asked);
    const time = this.#now();
    for (const [role, to] of Object.entries(this.wanted) as [UnitRole, number][]) {
      const { [role]: from = 0 } = before;
      if (to !== from) this.#note({ time, role, from, to, because });
    }
  }

  #note(change: ScaleChange): void {
    const counts = change.to > change.from ? this.#ups : this.#downs;
    counts.set(change.role, (counts.get(change.role) ?? 0) + 1);
    this.#last.push(change);
    if (this.#last.length > KEPT) this.#last.shift();
    this.#observer.scaled?.(change);
  }
}
