import { useState } from "preact/hooks";
import { Chat } from "./chat.tsx";
import { Counters } from "./counters.tsx";
import { Diagram } from "./diagram.tsx";
import { Experts } from "./experts.tsx";
import { Header, type View } from "./header.tsx";
import { KeyForm } from "./key-form.tsx";
import { Plots } from "./plots.tsx";
import { useStatus } from "./use-status.ts";

/** The page: the cluster as it runs, and someone to talk to. */
export function App() {
  // The key lives here and in no storage: it is gone with the page.
  const [key, setKey] = useState("");
  const [view, setView] = useState<View>(location.hash === "#chat" ? "chat" : "cluster");
  /** The first one of the server, until one is chosen. */
  const [model, setModel] = useState("");
  const { connection, recent, samples } = useStatus(key, model);
  const now = recent.at(-1);
  const show = (next: View) => {
    history.replaceState(null, "", next === "chat" ? "#chat" : location.pathname);
    setView(next);
  };

  return (
    <>
      <Header status={now} connection={connection} onModel={setModel} view={view} onView={show} />
      {connection === "locked" && <KeyForm refused={key !== ""} onKey={setKey} />}
      {now && (
        <main class={`page shows-${view}`}>
          <div class="cluster" key={now.models[0]}>
            <Diagram status={now} recent={recent} samples={samples} apiKey={key} />
            <Counters status={now} />
            <Experts recent={recent} />
            <Plots samples={samples} />
          </div>
          <Chat model={now.models[0]} apiKey={key} />
        </main>
      )}
    </>
  );
}
