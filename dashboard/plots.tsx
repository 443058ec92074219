import type { StatusSnapshot } from "../src/gateway/status/status-snapshot.ts";
import { Plot, type Line } from "./plot.tsx";

const tokens: readonly Line[] = [
  {
    name: "input",
    color: "--prefill",
    value: ({ tokensPerSecond }) => tokensPerSecond.hit + tokensPerSecond.miss,
  },
  { name: "output", color: "--decode", value: ({ tokensPerSecond }) => tokensPerSecond.output },
];

const sequences: readonly Line[] = [
  { name: "waiting", color: "--heat", value: ({ requests }) => requests.waiting },
  { name: "in prefill", color: "--prefill", value: ({ requests }) => requests.prefill },
  { name: "in decode", color: "--decode", value: ({ requests }) => requests.decode },
];

/** What happened while the page was open. */
export function Plots({ history }: { history: readonly StatusSnapshot[] }) {
  return (
    <section class="plots">
      <Plot title="Tokens per second" lines={tokens} history={history} />
      <Plot title="Requests" lines={sequences} history={history} />
    </section>
  );
}
