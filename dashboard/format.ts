const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const percentage = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });

/** 1,234,567 */
export const count = (value: number): string => whole.format(value);

/** 1.23M; at most three digits, for what moves. */
export const brief = (value: number): string =>
  value < 1000 ? whole.format(value) : short.format(value);

/** 56.3%; a dash where there is nothing to divide by. */
export const share = (part: number, all: number): string =>
  all === 0 ? "–" : percentage.format(part / all);

/** $1.23, and more decimals the smaller it is. */
export function dollars(amount: string): string {
  const value = Number(amount);
  const decimals = value >= 100 ? 2 : value >= 1 ? 4 : 7;
  return `$${value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: decimals })}`;
}

/** 1.2 MB, 3.4 GB */
export function bytes(value: number): string {
  const [, digits, prefix] = /^([\d.]+)(\D?)$/.exec(brief(value)) ?? ["", "0", ""];
  return `${digits} ${prefix.replace("B", "G")}B`;
}

/** 0.4 ms, 56 ms, 7.8 s */
export function milliseconds(value: number): string {
  if (value >= 1000) return `${tenths.format(value / 1000)} s`;
  return `${value < 10 ? tenths.format(value) : whole.format(value)} ms`;
}

/** 2 d 3 h, 3 h 4 min, 5 min, 6 s */
export function duration(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (hours >= 24) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes % 60} min`;
  return minutes > 0 ? `${minutes} min` : `${Math.floor(seconds)} s`;
}
