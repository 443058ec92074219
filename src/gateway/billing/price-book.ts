/** What tokens cost, for whom and when: entries with the date they are valid from. */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { instant } from "./instant.ts";
import { rate, type ByKind } from "./money.ts";

const rates = { hit: rate, miss: rate, output: rate };

const days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] as const;

const clockTime = z
  .string()
  .regex(/^([01]\d|2[0-3]):[0-5]\d$/, "expected a time of day in UTC such as 16:30");

/** Hours of the day in UTC that have prices of their own, to the minute before `to`. */
const priceWindow = z
  .strictObject({
    name: z.string().min(1),
    from: clockTime,
    /** At or before `from`: on the next day. */
    to: clockTime,
    /** Days on which the window begins; all where none are given. */
    days: z.array(z.enum(days)).min(1).optional(),
    ...rates,
  })
  .refine(({ from, to }) => from !== to, "expected from and to to differ");

const priceEntry = z.strictObject({
  name: z.string().min(1),
  from: instant,
  /** Served names; an entry without them is for every model that has no entry of its own. */
  models: z.array(z.string()).min(1).optional(),
  ...rates,
  windows: z.array(priceWindow).default([]),
});

const priceBook = z.strictObject({
  prices: z.array(priceEntry).min(1),
  /** Traffic that is counted and costs nothing. */
  unbilled: z
    .strictObject({
      tenants: z.array(z.string()).default([]),
      models: z.array(z.string()).default([]),
    })
    .default({ tenants: [], models: [] }),
});

type PriceEntry = z.output<typeof priceEntry>;
type PriceWindow = z.output<typeof priceWindow>;

/** A price file as JSON has it. */
export type PriceBookJson = z.input<typeof priceBook>;

/** The price of one request, and where it is written. */
export interface Price {
  readonly name: string;
  /** When the entry became valid: milliseconds since 1970. */
  readonly from: number;
  /** The window's name; null outside all windows. */
  readonly window: string | null;
  /** Picodollars per token. */
  readonly rates: ByKind;
}

/** The price book cannot be read, or has no price for a request. */
export class PriceBookError extends Error {
  override readonly name = "PriceBookError";
}

export class PriceBook {
  readonly #entries: readonly PriceEntry[];
  readonly #unbilled: z.output<typeof priceBook>["unbilled"];

  private constructor({ prices, unbilled }: z.output<typeof priceBook>) {
    this.#entries = prices.toSorted((a, b) => b.from - a.from);
    this.#unbilled = unbilled;
  }

  /** Reads a JSON file. @throws PriceBookError naming the file and what is wrong in it. */
  static async load(path: string): Promise<PriceBook> {
    try {
      return PriceBook.parse(JSON.parse(await readFile(path, "utf8")));
    } catch (error) {
      const { message } = error as Error;
      throw new PriceBookError(`${path}: ${message}`, { cause: error });
    }
  }

  /** @throws PriceBookError naming the field that is wrong. */
  static parse(json: unknown): PriceBook {
    const { data, error } = priceBook.safeParse(json);
    if (data) return new PriceBook(data);
    const [{ path, message }] = error.issues;
    const field = z.core.toDotPath(path);
    throw new PriceBookError(field === "" ? message : `${field}: ${message}`);
  }

  /**
   * The price of a request of `model` that is completed at `time`.
   * @throws PriceBookError when the book has none.
   */
  priceAt(model: string, time: number): Price {
    const entry = this.#entryAt(model, time);
    const window = entry.windows.find((each) => isOpen(each, time));
    return window ? priceOf(entry, window.name, window) : this.standardPriceAt(model, time);
  }

  /** The price outside all windows. @throws PriceBookError as `priceAt`. */
  standardPriceAt(model: string, time: number): Price {
    const entry = this.#entryAt(model, time);
    return priceOf(entry, null, entry);
  }

  /** Why such a request costs nothing; undefined when it costs what the book says. */
  unbilledReason(tenant: string, model: string): "tenant" | "model" | undefined {
    if (this.#unbilled.tenants.includes(tenant)) return "tenant";
    return this.#unbilled.models.includes(model) ? "model" : undefined;
  }

  #entryAt(model: string, time: number): PriceEntry {
    const valid = this.#entries.filter(({ from }) => from <= time);
    const entry =
      valid.find(({ models }) => models?.includes(model)) ?? valid.find(({ models }) => !models);
    if (entry) return entry;
    throw new PriceBookError(`no price for ${model} at ${new Date(time).toISOString()}`);
  }
}

function priceOf(entry: PriceEntry, window: string | null, { hit, miss, output }: ByKind): Price {
  return { name: entry.name, from: entry.from, window, rates: { hit, miss, output } };
}

function isOpen(window: PriceWindow, time: number): boolean {
  const date = new Date(time);
  const clock = date.toISOString().slice(11, 16);
  const opensOn = (day: number) => !window.days || window.days.includes(days[(day + 7) % 7]);
  const today = date.getUTCDay();
  if (window.from < window.to) {
    return window.from <= clock && clock < window.to && opensOn(today);
  }
  return (clock >= window.from && opensOn(today)) || (clock < window.to && opensOn(today - 1));
}
