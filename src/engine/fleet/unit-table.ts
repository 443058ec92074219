import { MOST_UNITS } from "../../balancing/index.ts";
import {
  assignRanks,
  spreadRanks,
  type RankNode,
  type Topology,
  type UnitRole,
} from "../../cluster/index.ts";
import { backOffMs } from "./back-off.ts";

/** `draining`: it finishes what it has and is given no more; `lost`: it lacks a rank that it needs. */
export const unitStates = ["starting", "serving", "draining", "lost"] as const;
export type UnitState = (typeof unitStates)[number];

/** One life of a unit. A unit that is started anew has a new number, and so have its ranks. */
export interface UnitLife {
  readonly unit: number;
  readonly role: UnitRole;
  /** Those that have not ended, ascending. */
  readonly ranks: readonly RankNode[];
  readonly state: UnitState;
}

/** What is to be done so that the units that are wanted serve. */
export interface UnitAction {
  /**
   * `start`: it is told whether it has `started` or `failed`; `drain`: it is told when it is `drained`;
   * `end`: its ranks are to end, which is told by `ended`.
   */
  readonly kind: "start" | "drain" | "end";
  readonly unit: UnitLife;
}

interface Life extends UnitLife {
  readonly slot: Slot;
  ranks: readonly RankNode[];
  state: UnitState;
  /** Milliseconds at which it began to serve. */
  since: number;
  /** It was told how its start went. */
  isSettled: boolean;
  isDrained: boolean;
  isEnding: boolean;
  hasEnded: boolean;
}

/** The place of a unit that is wanted, or was: its lives follow one another. */
interface Slot {
  readonly role: UnitRole;
  /** The seat of each rank that it has when it is whole. */
  readonly home: readonly number[];
  /** The same, or others while nobody sits at home. */
  seats: readonly number[];
  isWanted: boolean;
  hasServed: boolean;
  /** Lives that came to nothing, since the last good one. */
  failures: number;
  /** Starts that failed, since the last that did not. */
  failedStarts: number;
  retryAt: number;
  problem: string | undefined;
}

/** How many units of a role are to serve. */
export type WantedUnits = Readonly<Partial<Record<UnitRole, number>>>;

export interface UnitTableOptions {
  readonly topology: Topology;
  /** As `assignRanks` has it. */
  readonly nodes: number | readonly number[];
  /** Ranks of a unit cannot step without each other. */
  readonly sharesExperts: boolean;
}

/** A unit that has served so long was in order. */
const GOOD_LIFE_MS = 30_000;
const MOST_BACK_OFF_MS = 60_000;
/** When all units have failed to start so often, none will. */
const HOPELESS_STARTS = 5;

/**
 * Which units there are, where, in which state, and what is to be done next. Nodes sit on seats: one
 * that comes back takes an empty seat, and so the share of the node that is gone. A unit that is lost is
 * started anew on the seats that are taken; when it could have more ranks again, or those that it has at
 * home, a whole one is started and takes over from it. Numbers of units and ranks are never given twice.
 */
export class UnitTable {
  readonly #options: UnitTableOptions;
  #slots: Slot[];
  #lives: Life[] = [];
  /** The node on each seat; undefined where it is gone, or was never there. */
  readonly #seats: (number | undefined)[];
  #nextUnit = 0;
  #nextRank = 0;

  constructor(options: UnitTableOptions) {
    const { topology, nodes } = options;
    const seatOfRank = assignRanks(topology, nodes);
    this.#options = options;
    this.#seats = Array.from({ length: Math.max(...seatOfRank) + 1 }, () => undefined);
    this.#slots = topology.units.map(({ role, ranks }) =>
      createSlot(
        role,
        ranks.map((rank) => seatOfRank[rank]),
      ),
    );
  }

  /** In the order of their places; of a place that is taken again the lost life is gone. */
  get units(): readonly UnitLife[] {
    const order = (life: Life) => this.#slots.indexOf(life.slot);
    return [...this.#lives].sort((a, b) => order(a) - order(b) || a.unit - b.unit);
  }

  /** How many units of each role are wanted. */
  get wanted(): WantedUnits {
    const wanted: Partial<Record<UnitRole, number>> = {};
    for (const { role, isWanted } of this.#slots) {
      wanted[role] = (wanted[role] ?? 0) + (isWanted ? 1 : 0);
    }
    return wanted;
  }

  /** Why wanted units have failed to start, where the last start failed. */
  get problems(): readonly string[] {
    return this.#slots.flatMap(({ problem }) => problem ?? []);
  }

  /** Nothing serves, and what was tried to change that has failed too often. */
  get isHopeless(): boolean {
    const serves = this.#lives.some(({ state }) => state === "serving" || state === "draining");
    return !serves && this.#slots.every(({ failedStarts }) => failedStarts >= HOPELESS_STARTS);
  }

  /** A node is there: it takes the first empty seat. */
  join(node: number): void {
    const free = this.#seats.indexOf(undefined);
    if (free < 0) this.#seats.push(node);
    else this.#seats[free] = node;
  }

  /** A node is gone; the ranks that it had are lost one by one. */
  leave(node: number): void {
    const seat = this.#seats.indexOf(node);
    if (seat >= 0) this.#seats[seat] = undefined;
  }

  /** A rank is gone: so is its unit, if that cannot step without it or has no other. */
  lose(rank: number, now: number): void {
    const life = this.#lives.find(({ ranks }) => ranks.some((each) => each.rank === rank));
    if (!life) return;
    life.ranks = life.ranks.filter((each) => each.rank !== rank);
    const isWhole = life.state === "starting" || this.#options.sharesExperts;
    if ((isWhole || life.ranks.length === 0) && !life.isEnding) fail(life, now);
  }

  /** Its ranks are ready. False where one was lost meanwhile: then it has failed. */
  started(unit: number, now: number): boolean {
    const life = this.#life(unit);
    if (life.state !== "starting") return false;
    life.isSettled = true;
    const { slot } = life;
    Object.assign(life, { state: "serving", since: now });
    Object.assign(slot, { hasServed: true, failedStarts: 0, problem: undefined });
    this.#lives = this.#lives.filter((each) => each.slot !== slot || !each.hasEnded);
    return true;
  }

  failed(unit: number, problem: string, now: number): void {
    const life = this.#life(unit);
    life.isSettled = true;
    life.slot.problem = problem;
    life.slot.failedStarts++;
    if (life.state === "starting") fail(life, now);
  }

  /** Whether a unit whose start has not begun is wanted no more: then it is forgotten. */
  withdraw(unit: number): boolean {
    const life = this.#life(unit);
    if (life.slot.isWanted || life.state !== "starting") return false;
    this.#forget(life);
    return true;
  }

  /** A unit that was lost meanwhile may be forgotten. */
  drained(unit: number): void {
    const life = this.#lives.find((each) => each.unit === unit);
    if (life) life.isDrained = true;
  }

  ended(unit: number): void {
    const life = this.#life(unit);
    life.hasEnded = true;
    const isReplaced = this.#lives.some(
      ({ slot, state }) => slot === life.slot && state === "serving",
    );
    if (life.state === "draining" || isReplaced) this.#forget(life);
  }

  /**
   * So many units of the roles that are named are wanted from now on.
   * @throws RangeError where that makes no sense; then nothing changes
   */
  scale(wanted: WantedUnits): void {
    const roles = new Set(this.#slots.map(({ role }) => role));
    const entries = Object.entries(wanted) as [UnitRole, number][];
    for (const [role, count] of entries) {
      if (!roles.has(role)) {
        throw new RangeError(`there are no ${role} units, only ${[...roles].join(" and ")}`);
      }
      if (!Number.isInteger(count) || count < 1) {
        throw new RangeError(`${role}: expected at least 1 unit, got ${count}`);
      }
      if (count > MOST_UNITS) {
        throw new RangeError(`${role}: expected at most ${MOST_UNITS} units, got ${count}`);
      }
    }
    for (const [role, count] of entries) this.#want(role, count);
  }

  /** What is to be done now; it is told of once. */
  act(now: number): UnitAction[] {
    const actions: UnitAction[] = [];
    for (const slot of this.#slots) {
      const lives = this.#lives.filter((life) => life.slot === slot);
      for (const unit of lives) {
        const isOver = unit.isDrained || (unit.state === "lost" && unit.isSettled);
        if (unit.isEnding || !isOver) continue;
        unit.isEnding = true;
        actions.push({ kind: "end", unit });
      }
      const serving = lives.filter(({ state }) => state === "serving");
      for (const unit of slot.isWanted ? serving.slice(0, -1) : serving) {
        unit.state = "draining";
        actions.push({ kind: "drain", unit });
      }
      if (this.#isToStart(slot, lives, now))
        actions.push({ kind: "start", unit: this.#create(slot) });
    }
    this.#slots = this.#slots.filter((slot) => slot.isWanted || this.#isOccupied(slot));
    this.#lives = this.#lives.filter(({ slot }) => this.#slots.includes(slot));
    return actions;
  }

  /** When to ask again, if nothing is told before; Infinity where nothing waits for time to pass. */
  nextAct(now: number): number {
    const retries = this.#slots.flatMap(({ retryAt }) => (retryAt > now ? [retryAt] : []));
    return Math.min(...retries);
  }

  #want(role: UnitRole, count: number): void {
    const own = this.#slots.filter((slot) => slot.role === role && slot.isWanted);
    for (const slot of own.slice(count)) slot.isWanted = false;
    const taken = this.#ranksBySeat();
    for (let more = own.length; more < count; more++) {
      this.#slots.push(createSlot(role, this.#seatsOfAnother(own[0], taken)));
    }
    const order = this.#options.topology.units.map((unit) => unit.role);
    this.#slots.sort((a, b) => order.indexOf(a.role) - order.indexOf(b.role));
  }

  /** One that has served goes on with the ranks that it can have; another waits for all its seats. */
  #isToStart(slot: Slot, lives: readonly Life[], now: number): boolean {
    if (!slot.isWanted || now < slot.retryAt) return false;
    const waits = (life: Life) =>
      life.state === "starting" || (life.state === "lost" && !life.hasEnded);
    if (lives.some(waits)) return false;
    const goesHome = slot.seats !== slot.home && this.#isTaken(slot.home);
    if (goesHome) slot.seats = slot.home;
    // One that may be anywhere does not wait for nodes that are all gone.
    const isAnywhere = typeof this.#options.nodes === "number";
    if (isAnywhere && this.#possible(slot).length === 0) slot.seats = this.#seatsOfAnother(slot);
    const possible = this.#possible(slot).length;
    const serving = lives.find(({ state }) => state === "serving");
    if (serving) return goesHome || possible > serving.ranks.length;
    return slot.hasServed ? possible > 0 : possible === slot.seats.length;
  }

  /** What has ended before it served is gone then; of one that has served the loads are still asked for. */
  #create(slot: Slot): Life {
    const isVain = (life: Life) => life.slot === slot && life.hasEnded && life.since === Infinity;
    this.#lives = this.#lives.filter((each) => !isVain(each));
    const life: Life = {
      unit: this.#nextUnit++,
      role: slot.role,
      ranks: this.#possible(slot).map((node) => ({ rank: this.#nextRank++, node })),
      state: "starting",
      ...{
        slot,
        since: Infinity,
        isSettled: false,
        isDrained: false,
        isEnding: false,
        hasEnded: false,
      },
    };
    this.#lives.push(life);
    return life;
  }

  /** The nodes of the ranks that it can have. */
  #possible({ seats }: Slot): number[] {
    return seats.flatMap((seat) => this.#seats[seat] ?? []);
  }

  /** A node is on each of the seats. */
  #isTaken(seats: readonly number[]): boolean {
    return seats.every((seat) => this.#seats[seat] !== undefined);
  }

  #isOccupied(slot: Slot): boolean {
    return this.#lives.some((life) => life.slot === slot && !life.hasEnded);
  }

  /** As many nodes of its own as its like have, or a share of all that are there; they are then taken. */
  #seatsOfAnother({ seats: like }: Slot, taken = this.#ranksBySeat()): number[] {
    const seats =
      typeof this.#options.nodes === "number"
        ? this.#sharedSeats(like.length, taken)
        : this.#freeSeats(like, taken);
    for (const seat of seats) taken.set(seat, (taken.get(seat) ?? 0) + 1);
    return seats;
  }

  #sharedSeats(ranks: number, taken: ReadonlyMap<number, number>): number[] {
    const there = [...this.#seats.keys()].filter((seat) => this.#seats[seat] !== undefined);
    const load = there.map((seat) => taken.get(seat) ?? 0);
    return spreadRanks(ranks, load).map((index) => there[index]);
  }

  #freeSeats(like: readonly number[], taken: ReadonlyMap<number, number>): number[] {
    const free = [...this.#seats.keys()].filter((seat) => !taken.has(seat));
    const own = new Map<number, number>();
    for (const seat of like) {
      if (!own.has(seat)) own.set(seat, free.shift() ?? this.#seats.push(undefined) - 1);
    }
    return like.map((seat) => own.get(seat) as number);
  }

  /** Of units that are wanted. */
  #ranksBySeat(): Map<number, number> {
    const ranks = new Map<number, number>();
    const seats = this.#slots.flatMap((slot) => (slot.isWanted ? slot.seats : []));
    for (const seat of seats) ranks.set(seat, (ranks.get(seat) ?? 0) + 1);
    return ranks;
  }

  #life(unit: number): Life {
    const life = this.#lives.find((each) => each.unit === unit);
    if (!life) throw new RangeError(`there is no unit ${unit}`);
    return life;
  }

  #forget(life: Life): void {
    this.#lives = this.#lives.filter((each) => each !== life);
  }
}

const createSlot = (role: UnitRole, seats: readonly number[]): Slot => ({
  ...{ role, home: seats, seats, isWanted: true, hasServed: false },
  ...{ failures: 0, failedStarts: 0, retryAt: 0, problem: undefined },
});

function fail(life: Life, now: number): void {
  if (life.state === "lost") return;
  const { slot } = life;
  slot.failures = now - life.since >= GOOD_LIFE_MS ? 1 : slot.failures + 1;
  slot.retryAt = now + backOffMs(slot.failures, MOST_BACK_OFF_MS);
  life.state = "lost";
}
