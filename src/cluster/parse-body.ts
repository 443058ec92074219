import type { z } from "zod";

/** Checks what another node has said. @throws Error naming the field that is wrong */
export function parseBody<T>(body: unknown, schema: z.ZodType<T>): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [{ path, message }] = result.error.issues;
  throw new Error(`${path.join(".")}: ${message}`);
}
