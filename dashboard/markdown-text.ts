const schemes = ["http:", "https:", "mailto:"];

/** Where a link may lead; undefined: nowhere. */
export function linkOf(href: string): string | undefined {
  try {
    const { protocol } = new URL(href);
    return schemes.includes(protocol) ? href : undefined;
  } catch {
    return undefined;
  }
}

const named: Readonly<Record<string, string>> = {
  ...{ amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" },
  ...{ times: "×", middot: "·", hellip: "…", ndash: "–", mdash: "—", deg: "°" },
};

/** A text with its character references resolved, as far as they are ones that people write. */
export function plainText(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w+));/gi, (written: string, ...found) => {
    const [decimal, hex, name] = found as (string | undefined)[];
    if (name !== undefined) return named[name] ?? written;
    const code = decimal === undefined ? parseInt(hex ?? "", 16) : Number(decimal);
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : written;
  });
}
