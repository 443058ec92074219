import type { ChoiceEvent, Generation } from "../answer/index.ts";

/** Thoughts, text, or a call of a tool, whose text is its arguments: what dialects call blocks or items. */
export interface AnswerPart {
  readonly kind: "reasoning" | "text" | "call";
  readonly id: string;
  /** In the answer. */
  readonly index: number;
  /** What it has said so far. */
  text: string;
  /** A call's. */
  readonly name: string;
  /** A call's; a new one where the model has none of its own. */
  readonly callId: string;
}

export type PartEvent =
  | { readonly kind: "begun"; readonly part: AnswerPart }
  | { readonly kind: "ended"; readonly part: AnswerPart }
  | { readonly kind: "said"; readonly part: AnswerPart; readonly text: string }
  | Extract<ChoiceEvent, { kind: "finished" }>;

/** The parts of an answer of one choice as they come, one after the other. */
export async function* answerParts(
  generation: Generation,
  createId: (prefix: string) => string,
  callPrefix: string,
): AsyncGenerator<PartEvent> {
  let count = 0;
  let part: AnswerPart | undefined;
  const begin = (kind: AnswerPart["kind"], name = "", callId = ""): AnswerPart =>
    (part = { kind, id: createId(""), index: count++, text: "", name, callId });

  for await (const event of generation.events()) {
    if (event.kind === "finished") {
      if (part) yield { kind: "ended", part };
      yield event;
      return;
    }
    const { delta } = event;
    const kind = partKinds[delta.kind];
    if (delta.kind === "tool-call" || part?.kind !== kind) {
      if (part) yield { kind: "ended", part };
      const called = delta.kind === "tool-call";
      part = called ? begin(kind, delta.name, delta.id ?? createId(callPrefix)) : begin(kind);
      yield { kind: "begun", part };
    }
    if (delta.kind === "tool-call") continue;
    part.text += delta.text;
    yield { kind: "said", part, text: delta.text };
  }
}

const partKinds = {
  reasoning: "reasoning",
  content: "text",
  "tool-call": "call",
  "tool-arguments": "call",
} as const;
