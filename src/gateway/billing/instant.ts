import { z } from "zod";

/** A moment: ISO 8601 with its offset from UTC in JSON, milliseconds since 1970 here. */
export const instant = z.codec(
  z.iso.datetime({ offset: true, error: "expected a time such as 2025-02-27T04:00:00Z" }),
  z.number(),
  { decode: Date.parse, encode: (milliseconds) => new Date(milliseconds).toISOString() },
);
