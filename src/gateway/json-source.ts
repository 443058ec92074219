/**
 * JSON of clients and models as it was written: JavaScript's numbers have not room for every digit of an
 * identifier, and `1.0` is not `1` to everybody.
 */
const sources = new WeakMap<object, string>();

/** An object that remembers the text it was read from. @throws SyntaxError */
export function readSource(text: string): object {
  return remembering(JSON.parse(text) as object, text);
}

export function remembering<Value extends object>(value: Value, text: string): Value {
  sources.set(value, text);
  return value;
}

/** What an object was read from, or what it would be written as. */
export const sourceOf = (value: object): string => sources.get(value) ?? JSON.stringify(value);

/** Half of a surrogate pair, which is in no text that has come as UTF-8; JSON.stringify writes it out. */
const MARK = "\ud800";

/** As JSON.stringify writes it, but for objects that remember their text. */
export function writeJson(value: object): string {
  const texts: string[] = [];
  const json = JSON.stringify(value, (_, inner: unknown) => {
    const text = typeof inner === "object" && inner !== null ? sources.get(inner) : undefined;
    return text === undefined ? inner : `${MARK}${texts.push(text) - 1}`;
  });
  return texts.length === 0
    ? json
    : json.replace(/"\\ud800(\d+)"/g, (_, index: string) => texts[Number(index)]);
}
