/** JSON numbers within bounds, digit by digit: a number may be begun only where it can be ended. */

/** A decimal number: `digits` · 10^−`scale`. */
export interface Decimal {
  readonly digits: bigint;
  readonly scale: number;
}

/** What a number must be. */
export interface NumberBounds {
  readonly min?: Decimal;
  readonly max?: Decimal;
  readonly overMin?: boolean;
  readonly underMax?: boolean;
  /** It is a multiple of this one; 1 for whole numbers. */
  readonly step?: Decimal;
  /** It is no whole number. */
  readonly fractional?: boolean;
  /** Numbers that it is not. */
  readonly not: readonly Decimal[];
}

/** Of a number that is compared as it is written: no two decimals of so many digits are one double. */
const MOST_DIGITS = 15;
/** Of a whole number that need not be a multiple. */
const MOST_WHOLE_DIGITS = 20;

export function decimalOf(number: number): Decimal {
  const [, sign, whole, fraction = "", exponent = "0"] =
    /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(number)) as RegExpExecArray;
  const scale = fraction.length - Number(exponent);
  const digits = BigInt(sign + whole + fraction);
  return scale < 0 ? { digits: digits * 10n ** BigInt(-scale), scale: 0 } : { digits, scale };
}

const power = (exponent: number): bigint => 10n ** BigInt(exponent);

/** The beginning of a number within bounds. */
export class NumberText {
  readonly text: string;
  /** Whose bounds they are. */
  readonly origin: NumberBounds;
  readonly #bounds: Bounds;

  static begin(bounds: NumberBounds): NumberText {
    return new NumberText("", bounds, new Bounds(bounds));
  }

  private constructor(text: string, origin: NumberBounds, bounds: Bounds) {
    this.text = text;
    this.origin = origin;
    this.#bounds = bounds;
  }

  get isComplete(): boolean {
    return /\d$/.test(this.text) && this.#bounds.admit(decimalIn(this.text));
  }

  get isLive(): boolean {
    return this.#bounds.canEnd(this.text);
  }

  followedBy(byte: number): NumberText | undefined {
    const text = this.text + String.fromCharCode(byte);
    if (!/^-?(?:(?:0|[1-9]\d*)(?:\.\d*)?)?$/.test(text)) return undefined;
    const most = text.includes(".") ? MOST_DIGITS : this.#bounds.mostWholeDigits;
    if (text.replace(/[-.]/g, "").length > most) return undefined;
    const next = new NumberText(text, this.origin, this.#bounds);
    return next.isLive ? next : undefined;
  }
}

function decimalIn(text: string): Decimal {
  const [whole, fraction = ""] = text.split(".");
  return { digits: BigInt(whole + fraction), scale: fraction.length };
}

/** Bounds, both inclusive, and texts between them, as whole multiples of 10^−scale. */
class Bounds {
  readonly #scale: number;
  readonly #min: bigint | undefined;
  readonly #max: bigint | undefined;
  readonly #step: bigint | undefined;
  readonly #fractional: boolean;
  readonly #not: ReadonlySet<bigint>;
  readonly mostWholeDigits: number;

  /** `scale`: of a number that may be compared. */
  constructor(bounds: NumberBounds, scale = MOST_DIGITS) {
    const { min, max, overMin, underMax, step, fractional, not } = bounds;
    const all = [min, max, step, ...not].map((each) => each?.scale ?? 0);
    this.#scale = Math.max(MOST_DIGITS, scale, ...all);
    this.#fractional = fractional ?? false;
    this.#min = min && this.#units(min) + (overMin ? 1n : 0n);
    this.#max = max && this.#units(max) - (underMax ? 1n : 0n);
    this.#step = step && this.#units(step);
    this.#not = new Set(not.map((each) => this.#units(each)));
    const compares = this.#step !== undefined && this.#step !== power(this.#scale);
    this.mostWholeDigits = compares ? MOST_DIGITS : MOST_WHOLE_DIGITS;
  }

  admit(number: Decimal): boolean {
    const value = this.#units(number);
    if (this.#excludes(value)) return false;
    return this.#firstIn(value, value, this.#step ?? 1n) !== undefined;
  }

  /** Whether some way to go on with the text ends in a number that is admitted. */
  canEnd(text: string): boolean {
    const negative = text.startsWith("-");
    const digits = text.replace(/[-.]/g, "");
    if (digits === "") {
      const firsts = (negative ? "0123456789" : "0123456789-").split("");
      return firsts.some((first) => this.canEnd(text + first));
    }
    const point = text.indexOf(".");
    const fraction = point < 0 ? 0 : text.length - point - 1;
    const unit = power(this.#scale - fraction);
    const begun = BigInt(digits) * unit;
    // More digits before the point make it larger, and leave fewer behind it.
    const mostMore = point >= 0 || digits === "0" ? 0 : this.mostWholeDigits - digits.length;
    for (let more = 0; more <= mostMore; more++) {
      const places = fraction + Math.max(0, MOST_DIGITS - digits.length - more);
      const low = begun * power(more);
      const step = power(this.#scale - places);
      const high = low + unit * power(more) - step;
      if (negative ? this.#some(-high, -low, step) : this.#some(low, high, step)) return true;
    }
    return false;
  }

  /** Whether a number from `low` to `high`, a multiple of `step` and of the own one, is admitted. */
  #some(low: bigint, high: bigint, step: bigint): boolean {
    const own = this.#step === undefined ? step : leastCommonMultiple(this.#step, step);
    const most = this.#not.size + Number(this.#fractional);
    for (let from = low, tries = 0; tries <= most; tries++) {
      const found = this.#firstIn(from, high, own);
      if (found === undefined) return false;
      if (!this.#excludes(found)) return true;
      from = found + 1n;
    }
    return false;
  }

  #units({ digits, scale }: Decimal): bigint {
    return digits * power(this.#scale - scale);
  }

  #excludes(value: bigint): boolean {
    return this.#not.has(value) || (this.#fractional && value % power(this.#scale) === 0n);
  }

  #firstIn(low: bigint, high: bigint, step: bigint): bigint | undefined {
    const from = this.#min !== undefined && this.#min > low ? this.#min : low;
    const upTo = this.#max !== undefined && this.#max < high ? this.#max : high;
    const first = ceilingTo(from, step);
    return first <= upTo ? first : undefined;
  }
}

function ceilingTo(value: bigint, step: bigint): bigint {
  const rest = ((value % step) + step) % step;
  return rest === 0n ? value : value + step - rest;
}

function leastCommonMultiple(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b];
  while (y !== 0n) [x, y] = [y, x % y];
  return (a / x) * b;
}

/** Whether a number is within bounds. */
export function admits(bounds: NumberBounds, number: number): boolean {
  const decimal = decimalOf(number);
  return new Bounds(bounds, decimal.scale).admit(decimal);
}

/** The least number that is a multiple of both. */
export function commonStep(a: Decimal, b: Decimal): Decimal {
  const scale = Math.max(a.scale, b.scale);
  const units = (of: Decimal) => of.digits * power(scale - of.scale);
  return { digits: leastCommonMultiple(units(a), units(b)), scale };
}
