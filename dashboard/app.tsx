import { useState } from "preact/hooks";
import { Chat } from "./chat.tsx";
import { Counters } from "./counters.tsx";
import { Diagram } from "./diagram.tsx";
import { Experts } from "./experts.tsx";
import { Header } from "./header.tsx";
import { KeyForm } from "./key-form.tsx";
import { Plots } from "./plots.tsx";
import { useStatus } from "./use-status.ts";

/** The page: the cluster as it runs, and someone to talk to. */
export function App() {
  // The key lives here and in no storage: it is gone with the page.
  const [key, setKey] = useState("");
  const { connection, history } = useStatus(key);
  const now = history.at(-1);

  return (
    <>
      <Header status={now} connection={connection} />
      {connection === "locked" && <KeyForm refused={key !== ""} onKey={setKey} />}
      {now && (
        <main class="page">
          <div class="cluster">
            <Diagram status={now} history={history} />
            <Counters status={now} />
            <Experts history={history} />
            <Plots history={history} />
          </div>
          <Chat model={now.models[0]} apiKey={key} />
        </main>
      )}
    </>
  );
}
