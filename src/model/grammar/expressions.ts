/**
 * Regular languages of bytes, as expressions with derivatives (Brzozowski, 1964): equal expressions
 * are one object, so that the derivatives of an expression are a DFA that is made as it is walked.
 */
import type { Effort } from "./errors.ts";
import { remembered } from "./remembered.ts";

export interface Expression {
  readonly id: number;
  /** Whether the empty text belongs to it. */
  readonly nullable: boolean;
  /** Whether an intersection or complement is part of it, so that it may be empty unseen. */
  readonly mayBeEmpty: boolean;
  readonly form: Form;
  /** Derivatives by byte, as far as they have been asked for. */
  readonly derivatives: (Expression | undefined)[];
}

type Form =
  | { readonly kind: "nothing" | "empty" }
  | { readonly kind: "bytes"; readonly set: ByteSet }
  | { readonly kind: "sequence"; readonly first: Expression; readonly rest: Expression }
  | { readonly kind: "union" | "intersection"; readonly of: readonly Expression[] }
  | { readonly kind: "complement"; readonly of: Expression }
  | {
      readonly kind: "repeat";
      readonly of: Expression;
      readonly min: number;
      readonly max: number;
    };

/** A bit for each of 256 bytes. */
type ByteSet = bigint;

const ALL_BYTES: ByteSet = (1n << 256n) - 1n;

const rangeSet = (first: number, last: number): ByteSet =>
  ((1n << BigInt(last - first + 1)) - 1n) << BigInt(first);

/** Makes the expressions of one grammar. */
export class Expressions {
  readonly #effort: Effort;
  readonly #made = new Map<string, Expression>();
  readonly #live = new Map<Expression, boolean>();
  readonly #classes = new Map<Expression, Uint8Array>();
  readonly #partitions = new Map<string, Uint8Array>();
  readonly nothing: Expression;
  readonly empty: Expression;
  /** Any bytes. */
  readonly anything: Expression;

  constructor(effort: Effort) {
    this.#effort = effort;
    this.nothing = this.#make("0", { kind: "nothing" }, false, false);
    this.empty = this.#make("1", { kind: "empty" }, true, false);
    this.anything = this.repeat(this.#bytes(ALL_BYTES), 0, Infinity);
  }

  /** One byte of a range. */
  range(first: number, last = first): Expression {
    return this.#bytes(rangeSet(first, last));
  }

  /** Exactly this text in UTF-8. */
  text(text: string): Expression {
    return this.sequence(...[...Buffer.from(text)].map((byte) => this.range(byte)));
  }

  sequence(...parts: readonly Expression[]): Expression {
    return parts.reduceRight((rest, first) => this.#then(first, rest), this.empty);
  }

  union(...parts: readonly Expression[]): Expression {
    let set: ByteSet = 0n;
    const others = new Set<Expression>();
    for (const part of parts.flatMap((each) => membersOf(each, "union"))) {
      if (part.form.kind === "bytes") set |= part.form.set;
      else if (part !== this.nothing) others.add(part);
    }
    if (set !== 0n) others.add(this.#bytes(set));
    if (others.has(this.anything)) return this.anything;
    if (others.size === 0) return this.nothing;
    return this.#join("union", "|", others, (each) => each.some(({ nullable }) => nullable));
  }

  intersection(...parts: readonly Expression[]): Expression {
    const all = new Set(parts.flatMap((each) => membersOf(each, "intersection")));
    all.delete(this.anything);
    if (all.has(this.nothing)) return this.nothing;
    if (all.size === 0) return this.anything;
    return this.#join("intersection", "&", all, (each) => each.every(({ nullable }) => nullable));
  }

  complement(of: Expression): Expression {
    if (of.form.kind === "complement") return of.form.of;
    if (of === this.nothing) return this.anything;
    if (of === this.anything) return this.nothing;
    return this.#make(`!${of.id}`, { kind: "complement", of }, !of.nullable, true);
  }

  repeat(of: Expression, min: number, max: number): Expression {
    if (min > max) return this.nothing;
    if (max === 0 || of === this.empty) return this.empty;
    if (of === this.nothing) return min === 0 ? this.empty : this.nothing;
    if (min === 1 && max === 1) return of;
    const least = of.nullable ? 0 : min;
    const form = { kind: "repeat", of, min: least, max } as const;
    return this.#make(`*${of.id},${least},${max}`, form, least === 0, of.mayBeEmpty);
  }

  optional(of: Expression): Expression {
    return this.union(of, this.empty);
  }

  /** What may follow a byte; `nothing` where no text of the expression has it there. */
  derivative(of: Expression, byte: number): Expression {
    return (of.derivatives[byte] ??= this.#pruned(this.#derive(of, byte)));
  }

  /** The same, as far as so many bytes tell: counts that they cannot use up are the same. */
  within(of: Expression, bytes: number): Expression {
    const { form, mayBeEmpty } = of;
    // Whether anything is left of an intersection may be a matter of counts.
    if (mayBeEmpty) return of;
    const inner = (each: Expression) => this.within(each, bytes);
    if (form.kind === "sequence") return this.#then(inner(form.first), inner(form.rest));
    if (form.kind === "union") return this.union(...form.of.map(inner));
    if (form.kind !== "repeat" || form.of.nullable) return of;
    const [min, max] = countsWithin(form.min, form.max, bytes);
    return this.repeat(form.of, min, max);
  }

  /** Whether any text belongs to it. */
  isLive(of: Expression): boolean {
    if (of === this.nothing) return false;
    if (!of.mayBeEmpty || of.nullable) return true;
    const known = this.#live.get(of);
    if (known !== undefined) return known;
    const live = this.#findsEnd(of);
    this.#live.set(of, live);
    return live;
  }

  /** Whether a text belongs to it. */
  has(of: Expression, text: string): boolean {
    return Buffer.from(text).reduce((left, byte) => this.derivative(left, byte), of).nullable;
  }

  #pruned(derivative: Expression): Expression {
    return this.isLive(derivative) ? derivative : this.nothing;
  }

  /** Searches the derivatives, unpruned ones, for the end of a text. */
  #findsEnd(from: Expression): boolean {
    const seen = new Set([from]);
    const open = [from];
    for (let at; (at = open.pop());) {
      for (const byte of this.#differentBytes(at)) {
        const next = this.#derive(at, byte);
        if (next.nullable || this.#live.get(next) === true) return true;
        if (next === this.nothing || seen.has(next) || this.#live.get(next) === false) continue;
        seen.add(next);
        open.push(next);
      }
    }
    for (const each of seen) this.#live.set(each, false);
    return false;
  }

  /** Classes of bytes, by byte: after two of a class an expression goes on alike. */
  byteClasses(of: Expression): Uint8Array {
    const known = this.#classes.get(of);
    if (known) return known;
    const key = [...firstSets(of)];
    const made = remembered(this.#partitions, key.map(String).join(), () => partition(key));
    this.#classes.set(of, made);
    return made;
  }

  /** One byte of each class. */
  #differentBytes(of: Expression): number[] {
    const classes = this.byteClasses(of);
    return [...new Set(classes)].map((each) => classes.indexOf(each));
  }

  #derive(of: Expression, byte: number): Expression {
    const { form } = of;
    switch (form.kind) {
      case "nothing":
      case "empty":
        return this.nothing;
      case "bytes":
        return (form.set >> BigInt(byte)) & 1n ? this.empty : this.nothing;
      case "sequence": {
        const first = this.#then(this.#derive(form.first, byte), form.rest);
        return form.first.nullable ? this.union(first, this.#derive(form.rest, byte)) : first;
      }
      case "union":
        return this.union(...form.of.map((each) => this.#derive(each, byte)));
      case "intersection":
        return this.intersection(...form.of.map((each) => this.#derive(each, byte)));
      case "complement":
        return this.complement(this.#derive(form.of, byte));
      case "repeat": {
        const rest = this.repeat(form.of, Math.max(0, form.min - 1), form.max - 1);
        return this.#then(this.#derive(form.of, byte), rest);
      }
    }
  }

  #bytes(set: ByteSet): Expression {
    return this.#make(`b${set.toString(36)}`, { kind: "bytes", set }, false, false);
  }

  #then(first: Expression, rest: Expression): Expression {
    if (first === this.nothing || rest === this.nothing) return this.nothing;
    if (first === this.empty) return rest;
    if (rest === this.empty) return first;
    if (first.form.kind === "sequence") {
      return this.#then(first.form.first, this.#then(first.form.rest, rest));
    }
    const form = { kind: "sequence", first, rest } as const;
    const nullable = first.nullable && rest.nullable;
    return this.#make(
      `.${first.id},${rest.id}`,
      form,
      nullable,
      first.mayBeEmpty || rest.mayBeEmpty,
    );
  }

  #join(
    kind: "union" | "intersection",
    sign: string,
    members: ReadonlySet<Expression>,
    nullableOf: (members: readonly Expression[]) => boolean,
  ): Expression {
    const of = [...members].sort((a, b) => a.id - b.id);
    if (of.length === 1) return of[0];
    const mayBeEmpty = kind === "intersection" || of.some((each) => each.mayBeEmpty);
    const key = sign + of.map(({ id }) => id).join();
    return this.#make(key, { kind, of }, nullableOf(of), mayBeEmpty);
  }

  #make(key: string, form: Form, nullable: boolean, mayBeEmpty: boolean): Expression {
    const known = this.#made.get(key);
    if (known) return known;
    this.#effort.spend();
    const made = { id: this.#made.size, nullable, mayBeEmpty, form, derivatives: [] };
    this.#made.set(key, made);
    return made;
  }
}

/** A number for each byte, the same for those that are in the same sets. */
function partition(sets: readonly ByteSet[]): Uint8Array {
  const numbers = new Map<string, number>();
  return Uint8Array.from({ length: 256 }, (_, byte) => {
    const key = sets.map((set) => (set >> BigInt(byte)) & 1n).join("");
    return remembered(numbers, key, () => numbers.size);
  });
}

/** Counts of what takes a byte at least, as far as so many bytes tell. */
export function countsWithin(min: number, max: number, bytes: number): [number, number] {
  return [Math.min(min, bytes + 1), max > bytes ? Infinity : max];
}

const membersOf = (of: Expression, kind: "union" | "intersection"): readonly Expression[] =>
  of.form.kind === kind ? of.form.of : [of];

/** Sets that tell apart the bytes with which an expression may go on. */
function firstSets(of: Expression, into = new Set<ByteSet>()): Set<ByteSet> {
  const { form } = of;
  if (form.kind === "bytes") into.add(form.set);
  else if (form.kind === "union" || form.kind === "intersection") {
    for (const each of form.of) firstSets(each, into);
  } else if (form.kind === "complement" || form.kind === "repeat") firstSets(form.of, into);
  else if (form.kind === "sequence") {
    firstSets(form.first, into);
    if (form.first.nullable) firstSets(form.rest, into);
  }
  return into;
}
