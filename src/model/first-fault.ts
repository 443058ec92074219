import type { z } from "zod";

/** How schemas read what comes from outside: a million wrong elements are one fault, not a million. */
export const untilFirstFault: z.core.ParseContextInternal<z.core.$ZodIssue> = { abortEarly: true };
