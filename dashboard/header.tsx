import type { StatusSnapshot } from "../src/gateway/status/status-snapshot.ts";
import { count, duration } from "./format.ts";
import type { Connection } from "./use-status.ts";

const says: Readonly<Record<Connection, string>> = {
  connecting: "connecting",
  live: "live",
  lost: "connection lost, trying again",
  locked: "locked",
};

export function Header(props: { status: StatusSnapshot | undefined; connection: Connection }) {
  const { status, connection } = props;
  const down = status?.engine === "down";
  return (
    <header class="header">
      <h1>DaySix</h1>
      {status && (
        <p class="dim">
          {status.models[0]} · context {count(status.maxModelLen)} · up {duration(status.upSeconds)}
        </p>
      )}
      <p class={`connection ${down ? "lost" : connection}`} role="status">
        {down ? "the engine does not answer: loads are unknown" : says[connection]}
      </p>
    </header>
  );
}
