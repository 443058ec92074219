import { useEffect, useRef, useState } from "preact/hooks";
import type { Turn } from "./conversation.ts";
import { Exchange } from "./exchange.tsx";
import { LiveAnswer } from "./live-answer.ts";
import { useTurns } from "./use-turns.ts";

/** A conversation with the model that the page watches. */
export function Chat({ model, apiKey }: { model: string; apiKey: string }) {
  const [turns, setTurns] = useTurns();
  const [text, setText] = useState("");
  const [thinks, setThinks] = useState(true);
  const [isLive, setLive] = useState(false);
  const [answer] = useState(() => new LiveAnswer(setTurns, setLive));
  const log = useRef<HTMLDivElement>(null);
  const follows = useRef(true);

  useEffect(() => {
    if (follows.current) log.current?.scrollTo({ top: log.current.scrollHeight });
  }, [turns]);

  const askAfter = (before: readonly Turn[], question: string) => {
    if (isLive || question.trim() === "") return;
    follows.current = true;
    void answer.ask({ model, apiKey, thinks, before, text: question });
  };
  const send = () => {
    if (isLive || text.trim() === "") return;
    setText("");
    askAfter(turns, text);
  };
  const askAgain = () => askAfter(turns.slice(0, -1), turns.at(-1)?.question ?? "");

  return (
    <section class="panel chat" aria-labelledby="chat">
      <div class="chat-head">
        <h2 id="chat">Chat with {model}</h2>
        <button
          type="button"
          class="quiet"
          disabled={turns.length === 0}
          onClick={() => answer.forget()}
        >
          New chat
        </button>
      </div>
      <div
        class="log"
        ref={log}
        role="log"
        tabIndex={0}
        aria-label="Conversation"
        aria-busy={isLive}
        onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
          follows.current = scrollHeight - scrollTop - clientHeight < 40;
        }}
      >
        {turns.length === 0 && <p class="dim">Ask something and watch it pass through.</p>}
        {turns.map((turn, index) => (
          <Exchange
            key={index}
            turn={turn}
            onAgain={!isLive && index === turns.length - 1 ? askAgain : undefined}
          />
        ))}
      </div>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <label class="hidden" for="question">
          Message
        </label>
        <textarea
          id="question"
          rows={2}
          placeholder={`Message ${model}`}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            send();
          }}
        />
        <div class="chat-row">
          <label>
            <input
              type="checkbox"
              checked={thinks}
              onChange={(event) => setThinks(event.currentTarget.checked)}
            />{" "}
            Think first
          </label>
          {isLive ? (
            <button type="button" onClick={() => answer.stop()}>
              Stop
            </button>
          ) : (
            <button type="submit" disabled={text.trim() === ""}>
              Send
            </button>
          )}
        </div>
      </form>
    </section>
  );
}
