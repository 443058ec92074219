import type { StatusSnapshot } from "../src/gateway/status/status-snapshot.ts";
import { count, duration } from "./format.ts";
import { healthOf } from "./health.ts";
import type { Connection } from "./use-status.ts";

const says: Readonly<Record<Exclude<Connection, "live">, string>> = {
  connecting: "connecting",
  lost: "connection lost, trying again",
  locked: "locked",
};

/** What of the page is shown where there is no room for both. */
export const views = { cluster: "Cluster", chat: "Chat" } as const;
export type View = keyof typeof views;

interface HeaderProps {
  readonly status: StatusSnapshot | undefined;
  readonly connection: Connection;
  readonly onModel: (model: string) => void;
  readonly view: View;
  readonly onView: (view: View) => void;
}

export function Header({ status, connection, onModel, view, onView }: HeaderProps) {
  const health = status && connection === "live" ? healthOf(status) : undefined;
  return (
    <header class="header">
      <div class="header-row">
        <h1>DaySix</h1>
        {status && (
          <p class="dim about">
            <Model status={status} onModel={onModel} />
            <span>context {count(status.maxModelLen)}</span>
            <span>up {duration(status.upSeconds)}</span>
          </p>
        )}
        <p class={`connection ${health?.state ?? connection}`} role="status">
          {health?.says ?? (connection === "live" ? "live" : says[connection])}
        </p>
        {status && (
          <nav class="views" aria-label="Views">
            {(Object.keys(views) as View[]).map((each) => (
              <button
                key={each}
                type="button"
                aria-pressed={each === view}
                onClick={() => onView(each)}
              >
                {views[each]}
              </button>
            ))}
          </nav>
        )}
      </div>
    </header>
  );
}

/** The model that the page is about; of several one that is chosen. */
function Model(props: { status: StatusSnapshot; onModel: (model: string) => void }) {
  const { served, models } = props.status;
  if (served.length === 1) return <b>{models[0]}</b>;
  return (
    <select
      aria-label="Model"
      value={models[0]}
      onChange={({ currentTarget }) => props.onModel(currentTarget.value)}
    >
      {served.map((name) => (
        <option key={name} value={name}>
          {name}
        </option>
      ))}
    </select>
  );
}
