import type { Logger } from "pino";
import {
  decideUnits,
  type LoadPolicy,
  type LoadState,
  MOST_UNITS,
  type UnitChange,
} from "../balancing/index.ts";
import { formatTopology, type Topology } from "../cluster/index.ts";
import type { Engine } from "../engine/index.ts";
import { usableCores } from "../kernels/index.ts";
import { durationOf, integerOf, numberOf, textIf, UsageError } from "./arguments.ts";
import { tryToScale } from "./try-to-scale.ts";

/** Milliseconds between two looks whether a decision is due. */
const LOOK_MS = 500;
const EXAMPLE = "load,prefill=20000,decode=300";

/** What `--scale-policy` says; `most` is undefined where nodes' cores are to bound it. */
export type ScalePolicy = Omit<LoadPolicy, "most"> & { readonly most?: number };

const fields = ["prefill", "decode", "min", "max", "every", "patience", "slack"] as const;
type Fields = Partial<Record<(typeof fields)[number], string>>;

/** What `--scale-policy` says; undefined without it. */
export function scalePolicyOf(flags: Readonly<Record<string, unknown>>): ScalePolicy | undefined {
  const text = textIf(flags, "scale-policy");
  if (text === undefined) return undefined;
  if (flags["scaleSchedule"] !== undefined) {
    throw new UsageError("--scale-policy: expected one of --scale-schedule and --scale-policy");
  }
  const [policy, ...parts] = text.split(",");
  if (policy !== "load") fail(`expected ${EXAMPLE}, got ${text}`);
  const said = fieldsOf(parts);
  const { prefill, decode, min = 1, max, every = "1m", patience = "15m", slack = "5" } = said;
  if (prefill === undefined || decode === undefined) {
    fail(`expected the tokens a second that a unit is aimed at, as in ${EXAMPLE}`);
  }
  const name = (field: string) => `scale-policy: ${field}`;
  const rate = (field: string, value: string) => numberOf(name(field), value, 1e-3, 1e12);
  const least = integerOf(name("min"), min, 1, MOST_UNITS);
  return {
    carries: { prefill: rate("prefill", prefill), decode: rate("decode", decode) },
    least,
    ...(max !== undefined && { most: integerOf(name("max"), max, least, MOST_UNITS) }),
    everyMs: durationOf(name("every"), every),
    patienceMs: durationOf(name("patience"), patience),
    slack: numberOf(name("slack"), slack.replace(/%$/, ""), 0, 90) / 100,
  };
}

function fieldsOf(parts: readonly string[]): Fields {
  const said: Fields = {};
  for (const part of parts) {
    const [key, value, ...more] = part.split("=");
    const field = fields.find((each) => each === key);
    if (!field || !value || more.length > 0) fail(`expected ${fields.join("=, ")}=, got "${part}"`);
    if (field in said) fail(`${field} is there twice`);
    said[field] = value;
  }
  return said;
}

function fail(message: string): never {
  throw new UsageError(`--scale-policy: ${message}`);
}

/** What of an engine decides how many units serve, and hears it. */
export type ScaledEngine = Pick<Engine, "units" | "problems" | "tokens" | "scale"> & {
  readonly scaling: Pick<Engine["scaling"], "wanted" | "room">;
};

/** Has units come and go with what is asked. What `daysix scale` asks for meanwhile is where it goes on from. */
export class LoadScaledUnits {
  readonly #engine: ScaledEngine;
  readonly #policy: LoadPolicy;
  readonly #cores: number;
  readonly #log: Pick<Logger, "warn" | "error">;
  readonly #otherRanks: () => number;
  /** Ranks of a unit, by what it computes. */
  readonly #ranks: ReadonlyMap<string, number>;
  #state: LoadState = { kinds: {} };
  #short = "";

  /** `topology`: as the server began. `otherRanks`: that share the cores, of other models. */
  constructor(
    engine: ScaledEngine,
    policy: ScalePolicy,
    topology: Topology,
    log: Pick<Logger, "warn" | "error">,
    otherRanks: () => number = () => 0,
  ) {
    this.#engine = engine;
    this.#policy = { ...policy, most: policy.most ?? MOST_UNITS };
    this.#cores = policy.most === undefined ? usableCores() : Infinity;
    this.#ranks = new Map(topology.units.map(({ role, ranks }) => [role, ranks.length]));
    this.#log = log;
    this.#otherRanks = otherRanks;
  }

  /** @param at milliseconds */
  look(at: number): void {
    const { units, tokens, problems, scaling } = this.#engine;
    const ranks = units.reduce((sum, unit) => sum + unit.ranks.length, this.#otherRanks());
    const seen = {
      ...{ at, tokens, problem: problems.at(0) },
      // Of other machines no more is known than that they refuse what they cannot have.
      room:
        scaling.room === Infinity
          ? Infinity
          : Math.min(scaling.room, Math.max(0, this.#cores - ranks)),
      units: Object.entries(scaling.wanted).map(([kind, wanted]) => ({
        ...{ kind: kind as UnitChange["kind"], wanted, ranks: this.#ranks.get(kind) ?? 1 },
        serving: units.filter(({ role, state }) => role === kind && state === "serving").length,
      })),
    };
    const decision = decideUnits(seen, this.#state, this.#policy);
    const isDecided = decision.state !== this.#state;
    this.#state = decision.state;
    for (const change of decision.changes) {
      const because = reasonOf(change, this.#policy);
      tryToScale(this.#engine, { [change.kind]: change.to }, because, this.#log);
    }
    const short = decision.short.join(" and ");
    if (isDecided && short !== "" && short !== this.#short) {
      this.#log.warn(
        { short },
        "more units are needed than max= allows, or there are cores (without max=) and memory for",
      );
    }
    if (isDecided) this.#short = short;
  }
}

function reasonOf({ from, to, asked, expected, problem }: UnitChange, policy: LoadPolicy): string {
  if (problem !== undefined) return `no more start: ${problem}`;
  const load = `what ${asked.toFixed(2)} units are aimed at is asked`;
  if (to > from) return `${load}, and ${expected.toFixed(2)} expected`;
  return `${load}, and no more than ${to} were needed for ${policy.patienceMs / 1000} s`;
}

export function keepToLoad(
  engine: Engine,
  policy: ScalePolicy,
  log: Pick<Logger, "info" | "warn" | "error">,
  otherRanks: () => number,
): void {
  const { topology } = engine;
  log.info({ ...policy, topology: formatTopology(topology) }, "units follow the load");
  const units = new LoadScaledUnits(engine, policy, topology, log, otherRanks);
  setInterval(() => units.look(performance.now()), Math.min(LOOK_MS, policy.everyMs)).unref();
}
