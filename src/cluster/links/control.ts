import { z } from "zod";
import { type Frame, FrameError } from "./frame.ts";
import { decodeBody, encodeBody } from "./body.ts";
import { parseAs } from "./handshake.ts";
import type { NodeLink } from "./node-link.ts";

/** The other node could not do what it was asked, or is gone. */
export class ControlError extends Error {
  override readonly name = "ControlError";
}

const said = z.custom<unknown>((value) => value !== undefined);
const controlSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("tell"), body: said }),
  z.object({ kind: z.literal("ask"), question: z.int().min(0), body: said }),
  z.object({ kind: z.literal("answer"), question: z.int().min(0), body: said }),
  z.object({ kind: z.literal("failure"), question: z.int().min(0), message: z.string() }),
]);

export interface ControlHandlers {
  /** An error thrown here cuts the link with it. */
  readonly told: (body: unknown) => void;
  /** A rejection is passed on to whoever asked, by its message. */
  readonly asked: (body: unknown) => Promise<unknown>;
}

interface Question {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Events, questions and answers over one link. */
export class ControlChannel {
  readonly #link: NodeLink;
  readonly #handlers: ControlHandlers;
  readonly #questions = new Map<number, Question>();
  #next = 0;
  #ended: ControlError | undefined;

  constructor(link: NodeLink, handlers: ControlHandlers) {
    this.#link = link;
    this.#handlers = handlers;
  }

  /** Typed arrays in the body travel as bytes. @throws RangeError if the body is too large. */
  tell(body: unknown): void {
    this.#tell({ kind: "tell", body });
  }

  /** Rejects with ControlError when the other side fails or is lost. */
  async ask(body: unknown): Promise<unknown> {
    if (this.#ended) throw this.#ended;
    const question = this.#next++;
    return new Promise((resolve, reject) => {
      this.#tell({ kind: "ask", question, body });
      this.#questions.set(question, { resolve, reject });
    });
  }

  /** @throws FrameError for a frame that holds no control message. */
  receive(frame: Frame): void {
    const message = parseAs("control", decodeBody(frame.payload), controlSchema);
    if (message.kind === "tell") this.#beTold(message.body);
    else if (message.kind === "ask") void this.#answer(message.question, message.body);
    else {
      const question = this.#questions.get(message.question);
      this.#questions.delete(message.question);
      if (message.kind === "answer") question?.resolve(message.body);
      else question?.reject(new ControlError(message.message));
    }
  }

  #tell(message: z.input<typeof controlSchema>): void {
    this.#link.tellControl(encodeBody(message));
  }

  /** Nobody waits for a node that is gone. */
  end(reason: string): void {
    this.#ended = new ControlError(reason);
    for (const { reject } of this.#questions.values()) reject(this.#ended);
    this.#questions.clear();
  }

  #beTold(body: unknown): void {
    try {
      this.#handlers.told(body);
    } catch (error) {
      throw new FrameError(`it told what was not understood: ${(error as Error).message}`);
    }
  }

  async #answer(question: number, body: unknown): Promise<void> {
    try {
      const answer = await this.#handlers.asked(body);
      this.#tell({ kind: "answer", question, body: answer });
    } catch (error) {
      const message = (error as Error).message.slice(0, 4096);
      this.#tell({ kind: "failure", question, message });
    }
  }
}
