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
    try {
      return [{ kind: "mask", mask: perform(task, grammars) }];
    } catch (error) {
      const { message } = error as Error;
      return [{ kind: error instanceof GrammarError ? "refused" : "failed", message }];
    }
  });
}

liveAsLongAs(Number(process.argv[2]));
process.once("message", ({ vocabulary, endTokens }: MaskStart) => {
  const grammars = new Grammars(new TokenOrder(new Vocabulary(vocabulary), endTokens));
  process.on("message", (tasks: MaskTask[]) => process.send?.(answer(tasks, grammars)));
});
