import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { columns, type Sample } from "./history.ts";

export interface Line {
  readonly name: string;
  /** A custom property of the style sheet. */
  readonly color: string;
  /** Null: there is none. */
  readonly value: (sample: Sample) => number | null;
}

export interface Chart {
  readonly title: string;
  readonly lines: readonly Line[];
  readonly format: (value: number) => string;
}

const HEIGHT = 150;
/** The time axis spans at least so many seconds. */
const SPAN = 120;

/** Lines over time; drawn anew when the color scheme changes. */
export function Plot({ chart, samples }: { chart: Chart; samples: readonly Sample[] }) {
  const { title, lines, format } = chart;
  const frame = useRef<HTMLDivElement>(null);
  const [plot, setPlot] = useState<uPlot>();
  const dark = useDarkScheme();

  useEffect(() => {
    const element = frame.current as HTMLDivElement;
    const created = new uPlot(optionsOf(chart, element), [[], ...lines.map(() => [])], element);
    const observer = new ResizeObserver(() =>
      created.setSize({ width: element.clientWidth, height: HEIGHT }),
    );
    observer.observe(element);
    setPlot(created);
    return () => {
      observer.disconnect();
      created.destroy();
    };
  }, [chart, dark]);

  useEffect(() => {
    plot?.setData(
      columns(
        samples,
        lines.map(({ value }) => value),
      ) as uPlot.AlignedData,
    );
  }, [plot, lines, samples]);

  const now = samples.at(-1);
  const told = (value: number | null | undefined) =>
    typeof value === "number" ? format(value) : "–";
  return (
    <section class="panel plot" aria-label={title}>
      <h2>{title}</h2>
      <p class="legend">
        {lines.map(({ name, color, value }) => (
          <span key={name}>
            <i class="key" style={{ background: `var(${color})` }} /> {name}{" "}
            <b>{told(now && value(now))}</b>
          </span>
        ))}
      </p>
      <div ref={frame} class="plot-frame" aria-hidden="true" />
    </section>
  );
}

function optionsOf({ lines, format }: Chart, element: HTMLElement): uPlot.Options {
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
    padding: [8, 26, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { range: (_, low, high) => [Math.min(low, high - SPAN), high] },
      y: { range: (_, __, high) => [0, Math.max(4, (high ?? 0) * 1.1)] },
    },
    axes: [
      { ...axis, values: "{HH}:{mm}:{ss}", space: 80, size: 28 },
      { ...axis, size: 52, values: (_, ticks) => ticks.map(format) },
    ],
    series: [
      {},
      ...lines.map(({ name, color: of }) => ({
        label: name,
        stroke: color(of),
        width: 2,
        points: { show: false },
        spanGaps: false,
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
