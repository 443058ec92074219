/** What people type that cac does not read as they mean it. */

/** `--temperature -1` as `--temperature=-1`: a number is no option. */
export function joinNegatives(argv: readonly string[]): string[] {
  const joined: string[] = [];
  for (const argument of argv) {
    const option = joined.at(-1);
    if (/^-[\d.]/.test(argument) && option && /^--[^=]+$/.test(option)) {
      joined[joined.length - 1] = `${option}=${argument}`;
    } else joined.push(argument);
  }
  return joined;
}

/**
 * Of an option given more than once the last counts, as of `npm start -- --topology …`.
 * @param lists options of which each counts
 */
export function lastGiven(options: Record<string, unknown>, lists: readonly string[] = []): void {
  for (const [name, value] of Object.entries(options)) {
    if (["--", ...lists].includes(name)) continue;
    if (Array.isArray(value)) options[name] = value.at(-1);
  }
}

/** The name nearest to what was typed, where one is near. */
export function nearest(typed: string, names: readonly string[]): string | undefined {
  const [best] = names
    .map((name) => ({ name, distance: distanceOf(typed, name) }))
    .sort((a, b) => a.distance - b.distance);
  return best && best.distance <= 2 ? best.name : undefined;
}

/** Letters to add, drop or change. */
function distanceOf(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const above = row;
    row = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = above[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(change, above[j] + 1, row[j - 1] + 1));
    }
  }
  return row[b.length];
}
