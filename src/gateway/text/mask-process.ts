/** The mask worker's process: follows answers through their grammars, one task after the other. */
import { GrammarError, Grammars, Matcher, TokenOrder, Vocabulary } from "../../model/index.ts";
import { liveAsLongAs } from "./life.ts";
import type { MaskReport, MaskStart, MaskTask } from "./mask-messages.ts";

const matchers = new Map<number, Matcher>();

function perform(task: Exclude<MaskTask, { kind: "close" }>, grammars: Grammars): Uint32Array {
  if (task.kind === "push") {
    const matcher = matchers.get(task.matcher) as Matcher;
    matcher.push(task.token);
    return matcher.mask();
  }
  const opened = task.matchers.map(() => new Matcher(grammars, task.source, task.thinking));
  const mask = opened[0].mask();
  for (const [i, matcher] of opened.entries()) matchers.set(task.matchers[i], matcher);
  return mask;
}

function answer(tasks: readonly MaskTask[], grammars: Grammars): MaskReport[] {
  return tasks.flatMap((task): MaskReport[] => {
    if (task.kind === "close") {
      matchers.delete(task.matcher);
      return [];
    }
    const { id } = task;
    try {
      return [{ kind: "mask", id, mask: perform(task, grammars) }];
    } catch (error) {
      const { message } = error as Error;
      return [{ kind: error instanceof GrammarError ? "refused" : "failed", id, message }];
    }
  });
}

const unopened: MaskTask[] = [];

/** One at a time: steps wait for those who are under way, and nobody for those who begin. */
function openNext(grammars: Grammars): void {
  const next = unopened.shift();
  if (!next) return;
  process.send?.(answer([next], grammars));
  setImmediate(openNext, grammars);
}

liveAsLongAs(Number(process.argv[2]));
process.once("message", ({ vocabulary, endTokens }: MaskStart) => {
  const grammars = new Grammars(new TokenOrder(new Vocabulary(vocabulary), endTokens));
  process.on("message", (tasks: MaskTask[]) => {
    const opening = tasks.filter(({ kind }) => kind === "open");
    const others = tasks.filter(({ kind }) => kind !== "open");
    if (others.length > 0) process.send?.(answer(others, grammars));
    if (unopened.length === 0 && opening.length > 0) setImmediate(openNext, grammars);
    unopened.push(...opening);
  });
});
