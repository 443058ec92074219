/**
 * Walks a grammar byte by byte. A state is a set of stacks, each what its text may go on with; states
 * are numbered, and steps between them kept, so that a text that was walked once costs a look into a
 * table.
 */
import { type Effort, GrammarError } from "./errors.ts";
import { countsWithin, type Expression, type Expressions } from "./expressions.ts";
import type { ArrayNode, Node, ObjectNode } from "./nodes.ts";
import { NumberText } from "./number.ts";
import { remembered } from "./remembered.ts";

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

/** Tokens that are no text. */
interface Tokens {
  readonly tokens: ReadonlySet<number>;
}

/** A way in which the text may go on at once. */
interface Head {
  readonly id: number;
  readonly key: string;
  readonly on: Expression | NumberText | Tokens | "end";
  readonly next: Stack | undefined;
}

/** Of a step that has not been asked for. */
export const UNKNOWN = -2;
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

export class Machine {
  readonly start: number;
  readonly #expressions: Expressions;
  readonly #effort: Effort;
  readonly #stacks = new Map<string, Stack>();
  readonly #heads = new Map<string, Head>();
  readonly #ids = new Map<object, number>();
  readonly #repeats = new Map<string, Node>();
  readonly #numbers = new Map<string, NumberText>();
  readonly #states: State[] = [];
  readonly #known = new Map<string, number>();
  /** By bytes. */
  readonly #within = new Map<number, Map<number, number>>();
  readonly #stacksWithin = new Map<number, Map<Stack, Stack>>();

  /** @throws GrammarError when a rule begins with itself, or is too large */
  constructor(root: Node, expressions: Expressions, effort: Effort) {
    this.#expressions = expressions;
    this.#effort = effort;
    this.start = this.#stateOf(this.#expand(this.#pushAll([root], undefined)));
  }

  /** What it may cost, and has cost. */
  get effort(): Pick<Effort, "isLow" | "isSpent" | "spent"> {
    return this.#effort;
  }

  /** The state after a byte, or DEAD. */
  step(state: number, byte: number): number {
    const { steps, heads } = this.#states[state];
    if (steps[byte] !== UNKNOWN) return steps[byte];
    this.#effort.spend(heads.length);
    const nexts = heads.flatMap((head) => this.#stepHead(head, byte));
    const next = nexts.length === 0 ? DEAD : this.#stateOf(nexts);
    const classes = heads.map((head) => this.#classesOf(head));
    for (let other = 0; other < 256; other++) {
      if (classes.every((each) => each[other] === each[byte])) steps[other] = next;
    }
    return next;
  }

  /** States after each byte, as far as they have been asked for; UNKNOWN where they have not. */
  stepsOf(state: number): Int32Array {
    return this.#states[state].steps;
  }

  #classesOf({ on }: Head): Uint8Array {
    if (on === "end" || isTokens(on)) return alike;
    return on instanceof NumberText ? numberClasses : this.#expressions.byteClasses(on);
  }

  /** The state after a token that is no text, or DEAD. */
  stepToken(state: number, token: number): number {
    const next = this.#states[state].heads.flatMap(({ on, next: rest }) =>
      isTokens(on) && on.tokens.has(token) ? this.#expand(rest) : [],
    );
    return next.length === 0 ? DEAD : this.#stateOf(next);
  }

  /** A state from which texts of so many bytes go on alike: what counts further than that is the same. */
  within(state: number, bytes: number): number {
    const known = remembered(this.#within, bytes, () => new Map<number, number>());
    return remembered(known, state, () => {
      const heads = this.#states[state].heads.map((head) => {
        const { on, next } = head;
        const rest = this.#stackWithin(next, bytes);
        if (on === "end" || isTokens(on)) return this.#head(head.key, on, rest);
        if (on instanceof NumberText) return this.#head(head.key, on, rest);
        const near = this.#expressions.within(on, bytes);
        return this.#head(`e${near.id}`, near, rest);
      });
      return this.#stateOf(heads);
    });
  }

  #stackWithin(stack: Stack | undefined, bytes: number): Stack | undefined {
    if (!stack) return undefined;
    const known = remembered(this.#stacksWithin, bytes, () => new Map<Stack, Stack>());
    return remembered(known, stack, () => {
      const next = this.#stackWithin(stack.next, bytes);
      return this.#push(this.#itemWithin(stack.item, bytes), next);
    });
  }

  #itemWithin(item: Item, bytes: number): Item {
    if (item.kind === "items") return { ...item, count: countWithin(item.count, item.of, bytes) };
    if (item.kind === "members" || item.node.kind !== "repeat") return item;
    const [min, max] = countsWithin(item.node.min, item.node.max, bytes);
    return { kind: "node", node: this.#sameRepeat({ ...item.node, min, max }) };
  }

  /** Tokens that are no text and may come next. */
  tokensAt(state: number): number[] {
    return this.#states[state].heads.flatMap(({ on }) => (isTokens(on) ? [...on.tokens] : []));
  }

  /** Whether the text may end here. */
  mayEnd(state: number): boolean {
    return this.#states[state].heads.some(({ on }) => on === "end");
  }

  #stepHead({ on, next }: Head, byte: number): Head[] {
    if (on === "end" || isTokens(on)) return [];
    if (on instanceof NumberText) {
      const text = on.followedBy(byte);
      return text ? this.#number(this.#sameNumber(on, text), next) : [];
    }
    return this.#expression(this.#expressions.derivative(on, byte), next);
  }

  /** Numbers of the same bounds with the same text are one. */
  #sameNumber(from: NumberText, text: NumberText): NumberText {
    return remembered(this.#numbers, `${this.#idOf(from.origin)}:${text.text}`, () => text);
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
        const begun = remembered(this.#numbers, key, begin);
        return begun.isLive ? [this.#head(`n${this.#idOf(begun)}`, begun, next)] : [];
      }
      case "tokens":
        return [this.#head(`t${this.#idOf(node)}`, node, next)];
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
        open.push(this.#pushNode(node.punctuation.open, this.#push(members, next)));
        return [];
      }
      case "array": {
        const items = { kind: "items", of: node, count: 0, wanted: 0 } as const;
        open.push(this.#pushNode(node.punctuation.open, this.#push(items, next)));
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
    return remembered(this.#repeats, key, () => node);
  }

  #goOn(item: Exclude<Item, { kind: "node" }>, next: Stack | undefined): Stack[] {
    return item.kind === "members" ? this.#members(item, next) : this.#items(item, next);
  }

  #members(item: Extract<Item, { kind: "members" }>, next: Stack | undefined): Stack[] {
    const { of, seen, count } = item;
    const { close, first, comma, colon } = of.punctuation;
    const has = (index: number) => ((seen >> BigInt(index)) & 1n) === 1n;
    const missing = of.named.filter(({ required }, i) => required && !has(i)).length;
    const ways: Stack[] = [];
    if (missing === 0 && count >= of.min) ways.push(this.#pushNode(close, next));
    // Once there are enough, nobody counts.
    const counted = of.max === Infinity ? Math.min(count + 1, Math.max(of.min, 1)) : count + 1;
    const add = ({ key, value }: ObjectNode["unnamed"][number], now: bigint) => {
      const rest = this.#push({ ...item, seen: now, count: counted }, next);
      ways.push(
        this.#pushNode(count === 0 ? first : comma, this.#pushAll([key, colon, value], rest)),
      );
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
    const { close, first, comma } = of.punctuation;
    const ways: Stack[] = [];
    if (count >= of.min && wanted >= of.minWanted) ways.push(this.#pushNode(close, next));
    const nodes = count < of.max ? of.items[Math.min(count, of.items.length - 1)] : undefined;
    // Where all are alike and there are enough, nobody counts.
    const most = Math.max(of.items.length - 1, of.min, 1);
    const counted = of.max === Infinity ? Math.min(count + 1, most) : count + 1;
    const add = (value: Node, now: number) => {
      if (now > of.maxWanted || of.minWanted - now > roomForWanted(of, count + 1)) return;
      const kept = of.maxWanted === Infinity ? Math.min(now, of.minWanted) : now;
      const rest = this.#push({ ...item, count: counted, wanted: kept }, next);
      ways.push(this.#pushNode(count === 0 ? first : comma, this.#pushNode(value, rest)));
    };
    if (nodes?.wanted) add(nodes.wanted, wanted + 1);
    if (nodes?.other) add(nodes.other, wanted);
    return ways;
  }

  #push(item: Item, next: Stack | undefined): Stack {
    const key = `${this.#keyOf(item)}>${next?.id ?? ""}`;
    return remembered(this.#stacks, key, () => {
      this.#effort.spend();
      return { id: this.#stacks.size, item, next };
    });
  }

  #pushAll(nodes: readonly Node[], next: Stack | undefined): Stack | undefined {
    return nodes.reduceRight<Stack | undefined>((rest, node) => this.#pushNode(node, rest), next);
  }

  #pushNode(node: Node, next: Stack | undefined): Stack {
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
    return remembered(this.#heads, whole, () => ({ id: this.#heads.size, key, on, next }));
  }

  #stateOf(heads: readonly Head[]): number {
    const own = [...new Set(heads)].sort((a, b) => a.id - b.id);
    const key = own.map(({ id }) => id).join();
    return remembered(this.#known, key, () => {
      this.#effort.spend(STATE_EFFORT);
      return this.#states.push({ heads: own, steps: new Int32Array(256).fill(UNKNOWN) }) - 1;
    });
  }

  #idOf(object: object): number {
    return remembered(this.#ids, object, () => this.#ids.size);
  }
}

/** A count of items that so many bytes do not tell from others; each takes a byte at least. */
function countWithin(count: number, of: ArrayNode, bytes: number): number {
  const { items, min, max, minWanted, maxWanted } = of;
  const alike = Math.max(items.length, 1);
  if (count < alike || minWanted > 0 || maxWanted < Infinity) return count;
  if (count < min) return Math.max(alike, Math.min(count, min - bytes - 1));
  return max - count > bytes ? Math.max(alike, min) : count;
}

const alike = new Uint8Array(256);
/** Each sign of a number is one of its own. */
const numberClasses = Uint8Array.from({ length: 256 }, (_, byte) =>
  "+-.0123456789Ee".includes(String.fromCharCode(byte)) ? byte : 0,
);

const isTokens = (on: Head["on"]): on is Tokens => typeof on === "object" && "tokens" in on;

/** Items from an index on that may be wanted ones. */
function roomForWanted({ items, max }: ArrayNode, from: number): number {
  const different = Math.min(items.length - 1, max);
  const room = items.slice(from, different).filter(({ wanted }) => wanted).length;
  return items.at(-1)?.wanted ? room + Math.max(0, max - Math.max(from, different)) : room;
}
