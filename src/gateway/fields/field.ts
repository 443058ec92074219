/** What becomes of a request's field: it is done, makes no difference, or is refused by its name. */
export interface Field {
  readonly fate: "done" | "harmless" | "refused";
  /** For the documentation; of a refused field also what the client is told. */
  readonly note: string;
  /** Values with which a refused field asks for nothing; an absent or null one never does. */
  readonly neutral: readonly unknown[];
}

/**
 * Fields by their paths: `stream_options.include_usage`, `messages[].name`. Only below a path that is
 * the beginning of another are fields looked for: a tool's schema may have any.
 */
export type FieldTable = Readonly<Record<string, Field>>;

/** Fields by the API that has them, for the documentation. */
export type FieldSources = Readonly<Record<string, FieldTable>>;

export const done = (note = ""): Field => ({ fate: "done", note, neutral: [] });

export const harmless = (note: string): Field => ({ fate: "harmless", note, neutral: [] });

export const refused = (note: string, ...neutral: readonly unknown[]): Field => ({
  fate: "refused",
  note,
  neutral,
});
