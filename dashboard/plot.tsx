import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import type { StatusSnapshot } from "../src/gateway/status/status-snapshot.ts";
import { brief } from "./format.ts";

export interface Line {
  readonly name: string;
  /** A custom property of the style sheet. */
  readonly color: string;
  readonly value: (status: StatusSnapshot) => number;
}

interface PlotProps {
  readonly title: string;
  readonly lines: readonly Line[];
  readonly history: readonly StatusSnapshot[];
}

const HEIGHT = 170;
/** The time axis spans at least so many seconds. */
const SPAN = 120;

/** Lines over time; drawn anew when the color scheme changes. */
export function Plot({ title, lines, history }: PlotProps) {
  const frame = useRef<HTMLDivElement>(null);
  const [plot, setPlot] = useState<uPlot>();
  const dark = useDarkScheme();

  useEffect(() => {
    const element = frame.current as HTMLDivElement;
    const created = new uPlot(optionsOf(lines, element), [[], ...lines.map(() => [])], element);
    const observer = new ResizeObserver(() =>
      created.setSize({ width: element.clientWidth, height: HEIGHT }),
    );
    observer.observe(element);
    setPlot(created);
    return () => {
      observer.disconnect();
      created.destroy();
    };
  }, [lines, dark]);

  useEffect(() => {
    const times = history.map(({ time }) => time / 1000);
    plot?.setData([times, ...lines.map(({ value }) => history.map(value))]);
  }, [plot, lines, history]);

  const now = history.at(-1);
  return (
    <section class="panel plot" aria-label={title}>
      <h2>{title}</h2>
      <p class="legend">
        {lines.map(({ name, color, value }) => (
          <span key={name}>
            <i class="key" style={{ background: `var(${color})` }} /> {name}{" "}
            <b>{now ? brief(value(now)) : "–"}</b>
          </span>
        ))}
      </p>
      <div ref={frame} class="plot-frame" aria-hidden="true" />
    </section>
  );
}

function optionsOf(lines: readonly Line[], element: HTMLElement): uPlot.Options {
  const style = getComputedStyle(element);
  const color = (name: string) => style.getPropertyValue(name).trim();
  const axis: uPlot.Axis = {
    stroke: color("--dim"),
    grid: { stroke: color("--line"), width: 1 },
    ticks: { show: false },
    font: `11px ${style.fontFamily}`,
  };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { range: (_, low, high) => [Math.min(low, high - SPAN), high] },
      y: { range: (_, __, high) => [0, Math.max(4, high * 1.1)] },
    },
    axes: [
      { ...axis, values: "{HH}:{mm}:{ss}", space: 80, size: 28 },
      { ...axis, size: 44, values: (_, ticks) => ticks.map(brief) },
    ],
    series: [
      {},
      ...lines.map(({ name, color: of }) => ({
        label: name,
        stroke: color(of),
        width: 2,
        points: { show: false },
      })),
    ],
  };
}

function useDarkScheme(): boolean {
  const query = matchMedia("(prefers-color-scheme: dark)");
  const [dark, setDark] = useState(query.matches);
  useEffect(() => {
    const changed = (event: MediaQueryListEvent) => setDark(event.matches);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, []);
  return dark;
}
