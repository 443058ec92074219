/** The mask worker's process. */
import { Grammars, TokenOrder, Vocabulary } from "../../model/index.ts";
import { liveAsLongAs } from "./life.ts";
import { MaskDesk } from "./mask-desk.ts";
import type { MaskStart, MaskTask } from "./mask-messages.ts";

liveAsLongAs(Number(process.argv[2]));
process.once("message", ({ vocabulary, endTokens }: MaskStart) => {
  const grammars = new Grammars(new TokenOrder(new Vocabulary(vocabulary), endTokens));
  const desk = new MaskDesk(grammars, (reports) => process.send?.(reports));
  process.on("message", (tasks: MaskTask[]) => desk.hear(tasks));
});
