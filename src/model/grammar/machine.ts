/**
 * Walks a grammar byte by byte. A state is a set of stacks, each what its text may go on with; states
 * are numbered, and steps between them kept, so that a text that was walked once costs a look into a
 * table.
 */
import { type Effort, GrammarError } from "./errors.ts";
import type { Expression, Expressions } from "./expressions.ts";
import type { ArrayNode, Node, ObjectNode } from "./nodes.ts";
import { NumberText } from "./number.ts";

/** What follows, node by node; undefined: the text's end. */
interface Stack {
  readonly id: number;
  readonly item: Item;
  readonly next: Stack | undefined;
}

type Item =
  | { readonly kind: "node"; readonly node: Node }
  | {
      readonly kind: "members";
      readonly of: ObjectNode;
      readonly seen: bigint;
      readonly count: number;
    }
  | {
      readonly kind: "items";
      readonly of: ArrayNode;
      readonly count: number;
      readonly wanted: number;
    };

/** A way in which the text may go on at once. */
interface Head {
  readonly id: number;
  readonly on: Expression | NumberText | { readonly token: number } | "end";
  readonly next: Stack | undefined;
}

const UNKNOWN = -2;
/** No text of the grammar goes on like this. */
export const DEAD = -1;

interface State {
  readonly heads: readonly Head[];
  /** By byte. */
  readonly steps: Int32Array;
}

const MOST_STACKS = 4096;
/** What a state costs beside a step. */
const STATE_EFFORT = 50;

/** What stands between the parts of JSON, white space included. */
export interface Punctuation {
  readonly object: readonly [open: Expression, close: Expression];
  readonly array: readonly [open: Expression, close: Expression];
  /** Before the first member or item. */
  readonly first: Expression;
  readonly comma: Expression;
  readonly colon: Expression;
}

export class Machine {
  readonly start: number;
  readonly #expressions: Expressions;
  readonly #effort: Effort;
  readonly #punctuation: Punctuation;
  readonly #stacks = new Map<string, Stack>();
  readonly #heads = new Map<string, Head>();
  readonly #ids = new Map<object, number>();
  readonly #texts = new Map<string, Node>();
  readonly #repeats = new Map<string, Node>();
  readonly #numbers = new Map<string, NumberText>();
  readonly #states: State[] = [];
  readonly #known = new Map<string, number>();

  /** @throws GrammarError when a rule begins with itself, or is too large */
  constructor(root: Node, expressions: Expressions, punctuation: Punctuation, effort: Effort) {
    this.#expressions = expressions;
    this.#punctuation = punctuation;
    this.#effort = effort;
    this.start = this.#stateOf(this.#expand(this.#pushAll([root], undefined)));
  }

  /** Whether it had better be made anew. */
  get isLarge(): boolean {
    return this.#effort.isLow;
  }

  /** The state after a byte, or DEAD. */
  step(state: number, byte: number): number {
    const { steps, heads } = this.#states[state];
    if (steps[byte] !== UNKNOWN) return steps[byte];
    this.#effort.spend(heads.length);
    const next = heads.flatMap((head) => this.#stepHead(head, byte));
    return (steps[byte] = next.length === 0 ? DEAD : this.#stateOf(next));
  }

  /** The state after a token that is no text, or DEAD. */
  stepToken(state: number, token: number): number {
    const next = this.#states[state].heads.flatMap(({ on, next: rest }) =>
      typeof on === "object" && "token" in on && on.token === token ? this.#expand(rest) : [],
    );
    return next.length === 0 ? DEAD : this.#stateOf(next);
  }

  /** Tokens that are no text and may come next. */
  tokensAt(state: number): number[] {
    return this.#states[state].heads.flatMap(({ on }) =>
      typeof on === "object" && "token" in on ? [on.token] : [],
    );
  }

  /** Whether the text may end here. */
  mayEnd(state: number): boolean {
    return this.#states[state].heads.some(({ on }) => on === "end");
  }

  #stepHead({ on, next }: Head, byte: number): Head[] {
    if (on === "end" || "token" in on) return [];
    if (on instanceof NumberText) {
      const text = on.followedBy(byte);
      return text ? this.#number(this.#sameNumber(on, text), next) : [];
    }
    return this.#expression(this.#expressions.derivative(on, byte), next);
  }

  /** Numbers of the same bounds with the same text are one. */
  #sameNumber(from: NumberText, text: NumberText): NumberText {
    return this.#remembered(this.#numbers, `${this.#idOf(from.origin)}:${text.text}`, () => text);
  }

  #expression(on: Expression, next: Stack | undefined): Head[] {
    if (!this.#expressions.isLive(on)) return [];
    const heads = on === this.#expressions.empty ? [] : [this.#head(`e${on.id}`, on, next)];
    return on.nullable ? [...heads, ...this.#expand(next)] : heads;
  }

  #number(on: NumberText, next: Stack | undefined): Head[] {
    const head = this.#head(`n${this.#idOf(on)}`, on, next);
    return on.isComplete ? [head, ...this.#expand(next)] : [head];
  }

  /** All ways in which a stack's text may go on. */
  #expand(from: Stack | undefined): Head[] {
    const heads: Head[] = [];
    const seen = new Set<Stack | undefined>();
    const open = [from];
    while (open.length > 0) {
      const stack = open.pop();
      if (seen.has(stack)) continue;
      seen.add(stack);
      if (seen.size > MOST_STACKS) throw new GrammarError("a rule begins with itself");
      if (!stack) heads.push(this.#head("$", "end", undefined));
      else {
        const { item, next } = stack;
        if (item.kind === "node") heads.push(...this.#enter(item.node, next, open));
        else open.push(...this.#goOn(item, next));
      }
    }
    return heads;
  }

  /** Heads of a node that is entered; what it is made of is added to `open`. */
  #enter(node: Node, next: Stack | undefined, open: (Stack | undefined)[]): Head[] {
    switch (node.kind) {
      case "expression": {
        const { expression } = node;
        if (!this.#expressions.isLive(expression)) return [];
        if (expression.nullable) open.push(next);
        return expression === this.#expressions.empty
          ? []
          : [this.#head(`e${expression.id}`, expression, next)];
      }
      case "number": {
        const key = `${this.#idOf(node.bounds)}:`;
        const begin = () => NumberText.begin(node.bounds);
        const begun = this.#remembered(this.#numbers, key, begin);
        return begun.isLive ? [this.#head(`n${this.#idOf(begun)}`, begun, next)] : [];
      }
      case "token":
        return [this.#head(`t${node.token}`, { token: node.token }, next)];
      case "sequence":
        open.push(this.#pushAll(node.of, next));
        return [];
      case "choice":
        open.push(...node.of.map((each) => this.#pushAll([each], next)));
        return [];
      case "repeat":
        open.push(...this.#repeat(node, next));
        return [];
      case "rule":
        open.push(this.#pushAll([node.find()], next));
        return [];
      case "object": {
        const members = { kind: "members", of: node, seen: 0n, count: 0 } as const;
        open.push(this.#pushText(this.#punctuation.object[0], this.#push(members, next)));
        return [];
      }
      case "array": {
        const items = { kind: "items", of: node, count: 0, wanted: 0 } as const;
        open.push(this.#pushText(this.#punctuation.array[0], this.#push(items, next)));
        return [];
      }
    }
  }

  #repeat(node: Extract<Node, { kind: "repeat" }>, next: Stack | undefined): (Stack | undefined)[] {
    const { of, min, max } = node;
    if (max === 0) return [next];
    const less = { kind: "repeat", of, min: Math.max(0, min - 1), max: max - 1 } as const;
    const rest = max === Infinity && min === 0 ? node : this.#sameRepeat(less);
    const again = this.#pushAll([of, rest], next);
    return min === 0 ? [again, next] : [again];
  }

  #sameRepeat(node: Extract<Node, { kind: "repeat" }>): Node {
    const key = `${this.#idOf(node.of)}:${node.min},${node.max}`;
    return this.#remembered(this.#repeats, key, () => node);
  }

  #goOn(item: Exclude<Item, { kind: "node" }>, next: Stack | undefined): Stack[] {
    return item.kind === "members" ? this.#members(item, next) : this.#items(item, next);
  }

  #members(item: Extract<Item, { kind: "members" }>, next: Stack | undefined): Stack[] {
    const { of, seen, count } = item;
    const { first, comma, colon, object } = this.#punctuation;
    const has = (index: number) => ((seen >> BigInt(index)) & 1n) === 1n;
    const missing = of.named.filter(({ required }, i) => required && !has(i)).length;
    const ways: Stack[] = [];
    if (missing === 0 && count >= of.min) ways.push(this.#pushText(object[1], next));
    // Once there are enough, nobody counts.
    const counted = of.max === Infinity ? Math.min(count + 1, Math.max(of.min, 1)) : count + 1;
    const add = ({ key, value }: ObjectNode["unnamed"][number], now: bigint) => {
      const rest = this.#push({ ...item, seen: now, count: counted }, next);
      const told = this.#pushText(colon, this.#pushAll([value], rest));
      ways.push(this.#pushText(count === 0 ? first : comma, this.#pushText(key, told)));
    };
    const room = of.max - count - 1;
    for (const [i, member] of of.named.entries()) {
      if (has(i) || missing - Number(member.required) > room) continue;
      add(member, seen | (1n << BigInt(i)));
    }
    if (missing <= room) for (const member of of.unnamed) add(member, seen);
    return ways;
  }

  #items(item: Extract<Item, { kind: "items" }>, next: Stack | undefined): Stack[] {
    const { of, count, wanted } = item;
    const { first, comma, array } = this.#punctuation;
    const ways: Stack[] = [];
    if (count >= of.min && wanted >= of.minWanted) ways.push(this.#pushText(array[1], next));
    const nodes = count < of.max ? of.items[Math.min(count, of.items.length - 1)] : undefined;
    // Where all are alike and there are enough, nobody counts.
    const most = Math.max(of.items.length - 1, of.min, 1);
    const counted = of.max === Infinity ? Math.min(count + 1, most) : count + 1;
    const add = (value: Node, now: number) => {
      if (now > of.maxWanted || of.minWanted - now > roomForWanted(of, count + 1)) return;
      const kept = of.maxWanted === Infinity ? Math.min(now, of.minWanted) : now;
      const rest = this.#push({ ...item, count: counted, wanted: kept }, next);
      const told = this.#pushAll([value], rest);
      ways.push(this.#pushText(count === 0 ? first : comma, told));
    };
    if (nodes?.wanted) add(nodes.wanted, wanted + 1);
    if (nodes?.other) add(nodes.other, wanted);
    return ways;
  }

  #push(item: Item, next: Stack | undefined): Stack {
    const key = `${this.#keyOf(item)}>${next?.id ?? ""}`;
    return this.#remembered(this.#stacks, key, () => {
      this.#effort.spend();
      return { id: this.#stacks.size, item, next };
    });
  }

  #pushAll(nodes: readonly Node[], next: Stack | undefined): Stack | undefined {
    return nodes.reduceRight<Stack | undefined>(
      (rest, node) => this.#push({ kind: "node", node }, rest),
      next,
    );
  }

  #pushText(expression: Expression, next: Stack | undefined): Stack {
    const key = String(expression.id);
    const node = this.#remembered(this.#texts, key, (): Node => ({
      kind: "expression",
      expression,
    }));
    return this.#push({ kind: "node", node }, next);
  }

  #keyOf(item: Item): string {
    if (item.kind === "node") return `n${this.#idOf(item.node)}`;
    const of = this.#idOf(item.of);
    return item.kind === "members"
      ? `m${of},${item.seen},${item.count}`
      : `i${of},${item.count},${item.wanted}`;
  }

  #head(key: string, on: Head["on"], next: Stack | undefined): Head {
    const whole = `${key}>${next?.id ?? ""}`;
    return this.#remembered(this.#heads, whole, () => ({ id: this.#heads.size, on, next }));
  }

  #stateOf(heads: readonly Head[]): number {
    const own = [...new Set(heads)].sort((a, b) => a.id - b.id);
    const key = own.map(({ id }) => id).join();
    return this.#remembered(this.#known, key, () => {
      this.#effort.spend(STATE_EFFORT);
      return this.#states.push({ heads: own, steps: new Int32Array(256).fill(UNKNOWN) }) - 1;
    });
  }

  #idOf(object: object): number {
    return this.#remembered(this.#ids, object, () => this.#ids.size);
  }

  #remembered<Key, Value>(known: Map<Key, Value>, key: Key, make: () => Value): Value {
    const there = known.get(key);
    if (there !== undefined) return there;
    const made = make();
    known.set(key, made);
    return made;
  }
}

/** Items from an index on that may be wanted ones. */
function roomForWanted({ items, max }: ArrayNode, from: number): number {
  const different = Math.min(items.length - 1, max);
  const room = items.slice(from, different).filter(({ wanted }) => wanted).length;
  return items.at(-1)?.wanted ? room + Math.max(0, max - Math.max(from, different)) : room;
}
