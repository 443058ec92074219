/** Fifty schemas as clients send them: plain records, and all that makes a grammar hard. */
type Schema = Readonly<Record<string, unknown>>;

const record = (properties: Record<string, Schema>, more: Schema = {}): Schema => ({
  ...{ type: "object", properties, required: Object.keys(properties), additionalProperties: false },
  ...more,
});
const list = (items: Schema, maxItems = 4, more: Schema = {}): Schema => ({
  ...{ type: "array", items, maxItems, ...more },
});

const text = { type: "string", maxLength: 40 };
const name = { type: "string", minLength: 1, maxLength: 20 };
const date = { type: "string", pattern: "^\\d{4}-(0[1-9]|1[0-2])-([0-2]\\d|3[01])$" };
const email = { type: "string", pattern: "^[a-z0-9._]{1,12}@[a-z]{2,8}\\.(com|org)$" };
const code = { type: "string", pattern: "^[A-Z]{3}-\\d{4}$" };
const colour = { enum: ["red", "green", "blue", null] };
const mixed = { enum: ["a", 1, true, null, { x: [1, "two"] }] };
const count = { type: "integer", minimum: 0, maximum: 1000 };
const share = { type: "number", minimum: 0, maximum: 1 };
const price = { type: "number", multipleOf: 0.01, minimum: 0, maximum: 99999 };
const degrees = { type: "number", exclusiveMinimum: -90, exclusiveMaximum: 90 };
const even = { type: "integer", multipleOf: 2, minimum: -20, maximum: 20 };
const flag = { type: "boolean" };
const maybe = { type: ["string", "null"], maxLength: 12 };
const tags = list(name, 3, { minItems: 1 });
const pair = { type: "array", prefixItems: [count, text], items: false, minItems: 2 };

/** Parts of records, each in several of them. */
const parts: Record<string, Schema> = {
  ...{ text, name, date, email, code, colour, mixed, count, share, price, degrees, even },
  ...{ flag, maybe, tags, pair },
};

/** So many fields from a place on, in turn. */
function someParts(from: number, length: number): Schema {
  const names = Object.keys(parts);
  const chosen = Array.from({ length }, (_, i) => names[(from * 5 + i * 3) % names.length]);
  return record(Object.fromEntries(chosen.map((each) => [each, parts[each]])));
}

const circle = record({ kind: { const: "circle" }, radius: share });
const square = record({ kind: { const: "square" }, side: count });
const optional = { required: ["name"] };

const special: Schema[] = [
  circle,
  { oneOf: [circle, square] },
  list({ anyOf: [circle, square, { type: "null" }] }, 5),
  { type: "string", enum: ["yes", "no", 'quoted "words"', "Zeilen\numbruch"] },
  date,
  list(list(even, 3), 3, { minItems: 1 }),
  pair,
  record({ any: { type: ["integer", "boolean", "null"] }, lists: list(pair, 2) }),
  record({ name, count, flag, maybe }, optional),
  record({ name, date, tags, colour }, { ...optional, minProperties: 3 }),
  {
    type: "object",
    additionalProperties: share,
    propertyNames: { pattern: "^[a-z]{1,4}$" },
    maxProperties: 4,
  },
  {
    type: "object",
    patternProperties: { "^s_": text, "^n_": count },
    additionalProperties: false,
    maxProperties: 4,
  },
  record({ from: date, to: date, name }, { required: [], dependentRequired: { to: ["from"] } }),
  {
    ...record({ kind: { enum: ["a", "b"] }, count, name }, { required: ["kind"] }),
    ...{
      if: { properties: { kind: { const: "a" } } },
      // oxlint-disable-next-line unicorn/no-thenable -- JSON Schema calls it so
      then: { required: ["count"] },
      else: { required: ["name"] },
    },
  },
  { type: "integer", not: { minimum: 3, maximum: 7 }, minimum: 0, maximum: 10 },
  { allOf: [{ type: "string", minLength: 2 }, { pattern: "^a" }, { maxLength: 9 }] },
  list({ type: "integer", minimum: 0, maximum: 9 }, 5, { contains: { const: 7 } }),
  {
    ...{ $ref: "#/$defs/node", $defs: {} },
    $defs: {
      node: record({ name, next: { anyOf: [{ type: "null" }, { $ref: "#/$defs/node" }] } }),
    },
  },
  {
    $defs: { tree: { anyOf: [count, { ...list({ $ref: "#/$defs/tree" }, 2), minItems: 1 }] } },
    ...record({ tree: { $ref: "#/$defs/tree" } }),
  },
  record({ deep: record({ deeper: record({ deepest: list(record({ name, price }), 2) }) }) }),
];

const RECORDS = 30;

export const answerSchemas: readonly Schema[] = [
  ...Array.from({ length: RECORDS }, (_, i) => someParts(i, 3 + (i % 6))),
  ...special,
];
