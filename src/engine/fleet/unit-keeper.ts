import type { Clock } from "../../cluster/index.ts";
import type { Placement } from "../rank/index.ts";
import { EngineError, type FleetListener } from "./rank-handle.ts";
import { UnitTable, type UnitLife, type UnitTableOptions, type WantedUnits } from "./unit-table.ts";

/** Who reaches the ranks of units. */
export interface UnitHands {
  /**
   * Resolves when the ranks of these units are ready; rejects with what is wrong.
   * @param all these, and those that have started before and not ended
   */
  start(
    units: readonly UnitLife[],
    placements: readonly (Placement | null)[],
    all: readonly UnitLife[],
  ): Promise<void>;
  /** The ranks of others learn with whom they may exchange sequences. */
  introduce(unit: UnitLife, others: readonly UnitLife[]): void;
  /** Resolves when the ranks of a unit that is drained, lost or was not started have ended. */
  end(unit: UnitLife): Promise<void>;
}

export interface UnitKeeperOptions extends UnitTableOptions {
  readonly hands: UnitHands;
  readonly listener: Omit<FleetListener, "heard" | "lost">;
  readonly clock: Clock;
  /** Where the experts of a unit lie that is started later; null where each rank has all of them. */
  readonly place: (unit: UnitLife) => Promise<Placement | null>;
}

const LOST_MEANWHILE = "a rank was lost while the others started";

/** Does what the table of units says is to be done, and tells it what came of that. */
export class UnitKeeper {
  readonly #options: UnitKeeperOptions;
  readonly #table: UnitTable;
  /** Starts follow one another, so that each knows what memory is left and fails alone. */
  #starting: Promise<void> = Promise.resolve();
  #cancelRetry: () => void = () => undefined;
  #state: "new" | "keeping" | "closed" = "new";

  constructor(options: UnitKeeperOptions) {
    this.#options = options;
    this.#table = new UnitTable(options);
  }

  get units(): readonly UnitLife[] {
    return this.#table.units;
  }

  get wanted(): WantedUnits {
    return this.#table.wanted;
  }

  /** Why units that are wanted do not start. */
  get problems(): readonly string[] {
    return this.#table.problems;
  }

  /** Whether what is lost may come again. */
  get recovers(): boolean {
    return this.#state !== "closed" && !this.#table.isHopeless;
  }

  /** Starts all units, which need all their nodes. Rejects where one does not start. */
  async begin(placements: readonly (Placement | null)[]): Promise<void> {
    const { hands, clock } = this.#options;
    const actions = this.#table.act(clock.now());
    const units = actions.flatMap(({ kind, unit }) => (kind === "start" ? [unit] : []));
    if (units.length < placements.length) throw new EngineError(LOST_MEANWHILE);
    await hands.start(units, placements, units);
    const started = units.filter(({ unit }) => this.#table.started(unit, clock.now()));
    if (started.length < units.length) throw new EngineError(LOST_MEANWHILE);
    this.#state = "keeping";
    this.#act();
  }

  /** A node is there. */
  join(node: number): void {
    this.#table.join(node);
    this.#act();
  }

  /** A node is gone; its ranks are lost one by one. */
  leave(node: number): void {
    this.#table.leave(node);
    this.#act();
  }

  lose(rank: number): void {
    this.#table.lose(rank, this.#options.clock.now());
    this.#act();
  }

  /** @throws RangeError where that makes no sense */
  scale(wanted: WantedUnits): void {
    this.#table.scale(wanted);
    this.#act();
  }

  /** A unit has finished what it had. */
  drained(unit: number): void {
    this.#table.drained(unit);
    this.#act();
  }

  close(): void {
    this.#state = "closed";
    this.#cancelRetry();
  }

  #act(): void {
    if (this.#state !== "keeping") return;
    const { listener, clock } = this.#options;
    const now = clock.now();
    for (const { kind, unit } of this.#table.act(now)) {
      if (kind === "start") this.#starting = this.#starting.then(() => this.#start(unit));
      else if (kind === "drain") listener.draining(unit.unit);
      else void this.#end(unit);
    }
    this.#cancelRetry();
    const wait = this.#table.nextAct(now) - now;
    this.#cancelRetry = wait < Infinity ? clock.after(wait, () => this.#act()) : () => undefined;
    listener.changed();
    if (this.#table.isHopeless) listener.hopeless(this.problems.join("; "));
  }

  async #start(life: UnitLife): Promise<void> {
    if (this.#state === "closed") return;
    if (this.#table.withdraw(life.unit)) {
      this.#act();
      return;
    }
    const { hands, listener, place, clock } = this.#options;
    let problem: string | undefined;
    let placement: Placement | null = null;
    try {
      // It may have lost a rank's node while it waited.
      if (life.state === "starting") placement = await place(life);
      if (life.state === "starting") {
        await hands.start([life], [placement], [...this.#running, life]);
      }
    } catch (error) {
      problem = (error as Error).message;
    }
    const now = clock.now();
    if (problem === undefined && this.#table.started(life.unit, now)) {
      const others = this.#running.filter((each) => each !== life);
      hands.introduce(life, others);
      listener.serving({ life, placement });
    } else this.#table.failed(life.unit, problem ?? LOST_MEANWHILE, now);
    this.#act();
  }

  /** Units whose ranks have started and are not lost. */
  get #running(): readonly UnitLife[] {
    return this.units.filter(({ state }) => state === "serving" || state === "draining");
  }

  async #end(life: UnitLife): Promise<void> {
    await this.#options.hands.end(life);
    this.#table.ended(life.unit);
    this.#act();
  }
}
