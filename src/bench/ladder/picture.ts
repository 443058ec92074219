import type { UnitRole } from "../../cluster/index.ts";
import { deepseekProfile } from "./deepseek-profile.ts";
import type { RungFigures, UnitFigures } from "./figures.ts";

type Shares = Pick<UnitFigures, "compute" | "covered" | "exposed" | "idle">;

const parts: readonly {
  readonly name: string;
  readonly colour: string;
  readonly of: (shares: Shares) => number;
}[] = [
  { name: "compute", colour: "#5b8bd0", of: ({ compute, covered }) => compute - covered },
  { name: "compute over communication", colour: "#5aa469", of: ({ covered }) => covered },
  { name: "communication waited for", colour: "#d9534f", of: ({ exposed }) => exposed },
  { name: "neither", colour: "#e3e3e3", of: ({ idle }) => idle },
];

interface Row {
  readonly label: string;
  readonly rate?: number;
  readonly shares: Shares;
}

const ROW = 24;
const LABEL = 210;
const RATE = 190;
const TIME = 420;
const GAP = 16;
const WIDTH = LABEL + RATE + GAP + TIME + GAP;

/**
 * An SVG of the ladder: for each kind of unit, what each rung answers in a second and where its ranks' time
 * goes, above DeepSeek's own profile.
 */
export function drawLadder(rungs: readonly RungFigures[], title: string): string {
  const roles = [...new Set(rungs.flatMap(({ units }) => units.map(({ role }) => role)))];
  const shapes: string[] = [text(4, 0, title)];
  let top = ROW;
  for (const role of roles) {
    const rows = rowsOf(rungs, role);
    const rates = role === "prefill" ? "prompt tokens/s" : "answer tokens/s";
    shapes.push(text(4, top, `${role} unit`), text(LABEL, top, rates));
    shapes.push(text(LABEL + RATE + GAP, top, "time of its ranks' steps"));
    top += ROW;
    const most = Math.max(...rows.map(({ rate = 0 }) => rate));
    for (const row of rows) {
      shapes.push(...rowShapes(row, most, top));
      top += ROW;
    }
    top += ROW / 2;
  }
  shapes.push(...legendShapes(top));
  const height = top + ROW;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" ` +
      `height="${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    ...shapes,
    "</svg>\n",
  ].join("\n");
}

function rowsOf(rungs: readonly RungFigures[], role: UnitRole): Row[] {
  const measured = rungs.flatMap(({ name, units, ...rates }): Row[] => {
    const own = units.filter((unit) => unit.role === role);
    if (own.length === 0) return [];
    const rate = role === "prefill" ? rates.promptTokensPerSecond : rates.answerTokensPerSecond;
    return [{ label: name, rate, shares: meanOf(own) }];
  });
  const published = deepseekProfile.filter((profile) => profile.role === role);
  return [...measured, ...published.map((shares) => ({ label: shares.name, shares }))];
}

function meanOf(units: readonly Shares[]): Shares {
  const mean = (of: (shares: Shares) => number) =>
    units.reduce((sum, unit) => sum + of(unit), 0) / units.length;
  return {
    compute: mean(({ compute }) => compute),
    covered: mean(({ covered }) => covered),
    exposed: mean(({ exposed }) => exposed),
    idle: mean(({ idle }) => idle),
  };
}

function rowShapes({ label, rate, shares }: Row, most: number, top: number): string[] {
  const shapes = [text(12, top, label)];
  if (rate !== undefined) {
    shapes.push(rectangle(LABEL, (rate / most) * (RATE - 50), top, "#f2b134"));
    shapes.push(text(LABEL + RATE, top, rate.toFixed(rate < 100 ? 1 : 0), "end"));
  }
  let left = LABEL + RATE + GAP;
  for (const { colour, of } of parts) {
    const width = Math.max(0, of(shares)) * TIME;
    shapes.push(rectangle(left, width, top, colour));
    if (width > 34) shapes.push(text(left + width / 2, top, percent(of(shares)), "middle"));
    left += width;
  }
  return shapes;
}

function legendShapes(top: number): string[] {
  return parts.flatMap(({ name, colour }, i) => {
    const left = 4 + i * 205;
    return [rectangle(left, 14, top, colour), text(left + 18, top, name)];
  });
}

const percent = (share: number) => `${Math.round(100 * share)} %`;

const pixels = (x: number) => String(Math.round(x * 100) / 100);

const rectangle = (left: number, width: number, top: number, fill: string) =>
  `<rect x="${pixels(left)}" y="${pixels(top + 3)}" width="${pixels(width)}" ` +
  `height="${ROW - 6}" fill="${fill}"/>`;

const escaped = (content: string) => content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

const text = (x: number, top: number, content: string, anchor = "start") =>
  `<text x="${pixels(x)}" y="${pixels(top + ROW - 8)}" text-anchor="${anchor}">${escaped(content)}</text>`;
