import { useState } from "preact/hooks";
import type { Turn } from "./conversation.ts";
import { copyText } from "./copy-text.ts";
import { Markdown } from "./markdown.tsx";

/** A question and its answer; `onAgain` asks it once more. */
export function Exchange({ turn, onAgain }: { turn: Turn; onAgain: (() => void) | undefined }) {
  const { question, thinking, answer, state, note } = turn;
  const [open, setOpen] = useState(false);
  const thinks = state === "live" && answer === "";
  return (
    <article class={state}>
      <p class="question">{question}</p>
      {thinking !== "" && (
        <details
          class="thinking"
          open={open || thinks}
          onToggle={(event) => {
            if (!thinks) setOpen(event.currentTarget.open);
          }}
        >
          <summary>{thinks ? "Thinking…" : "Thoughts"}</summary>
          <p>{thinking}</p>
        </details>
      )}
      {answer !== "" && <Markdown text={answer} />}
      {state === "live" && answer === "" && thinking === "" && <p class="note">…</p>}
      {state !== "live" && (
        <div class="turn-row">
          <p class="note" role={state === "failed" ? "alert" : undefined}>
            {state === "failed" ? `Failed: ${note}` : note}
          </p>
          {answer !== "" && <CopyButton text={answer} />}
          {onAgain && (
            <button type="button" class="link" onClick={onAgain}>
              {state === "failed" ? "Try again" : "Regenerate"}
            </button>
          )}
        </div>
      )}
    </article>
  );
}

function CopyButton({ text }: { text: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    setCopied(await copyText(text));
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <button type="button" class="link" onClick={() => void copy()}>
      <span aria-live="polite">{copied ? "Copied" : "Copy"}</span>
    </button>
  );
}
