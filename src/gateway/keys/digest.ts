import { createHash } from "node:crypto";

/** What a file of keys has of each: nobody who reads it learns the key. */
export const digestOf = (key: string): string => createHash("sha256").update(key).digest("hex");
