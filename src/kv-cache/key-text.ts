import { randomBytes } from "node:crypto";

const KEY_BYTES = 32;
/** More of what lies in a key's place is not read. */
export const MOST_KEY_BYTES = 256;

const pattern = /^daysix block key ([0-9a-f]{64})\n$/;

/** As a store keeps the key that authenticates its blocks. */
export const textOfKey = (key: Uint8Array): string =>
  `daysix block key ${Buffer.from(key).toString("hex")}\n`;

export const newKeyText = (): string => textOfKey(randomBytes(KEY_BYTES));

/** Undefined where the text is another. */
export function keyOfText(text: string): Buffer | undefined {
  const [, digits] = pattern.exec(text) ?? [];
  return digits === undefined ? undefined : Buffer.from(digits, "hex");
}
