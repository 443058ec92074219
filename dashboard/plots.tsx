import { brief, milliseconds } from "./format.ts";
import type { Sample } from "./history.ts";
import { Plot, type Chart } from "./plot.tsx";

const charts: readonly Chart[] = [
  {
    title: "Tokens per second",
    format: brief,
    lines: [
      { name: "input", color: "--prefill", value: ({ input }) => input },
      { name: "output", color: "--decode", value: ({ output }) => output },
    ],
  },
  {
    title: "Requests",
    format: brief,
    lines: [
      { name: "waiting", color: "--heat", value: ({ waiting }) => waiting },
      { name: "in prefill", color: "--prefill", value: ({ prefill }) => prefill },
      { name: "in decode", color: "--decode", value: ({ decode }) => decode },
    ],
  },
  {
    title: "Time to first token",
    format: milliseconds,
    lines: [
      { name: "p50", color: "--prefill", value: ({ firstToken }) => firstToken && firstToken[0] },
      { name: "p95", color: "--heat", value: ({ firstToken }) => firstToken && firstToken[1] },
    ],
  },
  {
    title: "Time per token",
    format: milliseconds,
    lines: [
      { name: "p50", color: "--decode", value: ({ perToken }) => perToken && perToken[0] },
      { name: "p95", color: "--heat", value: ({ perToken }) => perToken && perToken[1] },
    ],
  },
];

/** What happened while this window looked, in the last ten minutes. */
export function Plots({ samples }: { samples: readonly Sample[] }) {
  return (
    <section class="plots">
      {charts.map((chart) => (
        <Plot key={chart.title} chart={chart} samples={samples} />
      ))}
    </section>
  );
}
