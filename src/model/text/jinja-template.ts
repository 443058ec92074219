/** Jinja as Python renders it. */
export { TemplateRefusal } from "./jinja-builtins.ts";
import { compare, contains, filter, globals, iterate, methodOf, passes } from "./jinja-builtins.ts";
import {
  type Call,
  type Identifier,
  type Node,
  parseTemplate,
  type Parameter,
} from "./jinja-syntax.ts";
import {
  type Callable,
  type Dict,
  equals,
  isNumber,
  isTrue,
  Loop,
  Namespace,
  toText,
  typeName,
  type Value,
} from "./jinja-values.ts";

class Scope {
  readonly #names: Dict;
  readonly #outer: Scope | undefined;

  constructor(names: Dict, outer?: Scope) {
    this.#names = names;
    this.#outer = outer;
  }

  get(name: string): Value {
    return this.#names.has(name) ? this.#names.get(name) : this.#outer?.get(name);
  }

  set(name: string, value: Value): void {
    this.#names.set(name, value);
  }

  inner(names: Dict = new Map()): Scope {
    return new Scope(names, this);
  }
}

/** Thrown to leave a loop's body. */
const BREAK = Symbol("break");
const CONTINUE = Symbol("continue");

export class Template {
  readonly #program: Node;

  /** @throws Error where the source is no Jinja. */
  constructor(source: string) {
    this.#program = parseTemplate(source);
  }

  /** @throws Error where the template raises one, or does what Python would not. */
  render(variables: Dict): string {
    return toText(evaluate(this.#program, new Scope(globals).inner(variables)));
  }
}

/** A statement's text or an expression's value. */
function evaluate(node: Node, scope: Scope): Value {
  switch (node.type) {
    case "Program":
      return renderAll(node.body, scope);
    case "Comment":
      return "";
    case "Break":
      throw BREAK;
    case "Continue":
      throw CONTINUE;
    case "If":
      return renderAll(isTrue(evaluate(node.test, scope)) ? node.body : node.alternate, scope);
    case "For":
      return renderLoop(node, scope);
    case "Set":
      assign(
        node.assignee,
        node.value ? evaluate(node.value, scope) : renderAll(node.body, scope.inner()),
        scope,
      );
      return "";
    case "Macro":
      scope.set(node.name.value, macro(node.args, node.body, scope));
      return "";
    case "CallStatement": {
      const caller = macro(node.callerArgs ?? [], node.body, scope);
      return call(node.call, scope.inner(new Map([["caller", caller]])), caller);
    }
    case "FilterStatement":
      return applyFilter(renderAll(node.body, scope.inner()), node.filter, scope);
    default:
      return evaluateExpression(node, scope);
  }
}

function evaluateExpression(node: Node, scope: Scope): Value {
  switch (node.type) {
    case "StringLiteral":
    case "FloatLiteral":
      return node.value;
    case "IntegerLiteral":
      return BigInt(node.value);
    case "ArrayLiteral":
    case "TupleLiteral":
      return node.value.map((item) => evaluate(item, scope));
    case "ObjectLiteral":
      return new Map(
        [...node.value].map(([key, value]) => [
          toText(evaluate(key, scope)),
          evaluate(value, scope),
        ]),
      );
    case "Identifier":
      return scope.get(node.value);
    case "MemberExpression":
      return member(node, scope);
    case "CallExpression":
      return call(node, scope);
    case "FilterExpression":
      return applyFilter(evaluate(node.operand, scope), node.filter, scope);
    case "TestExpression":
      return passes(node.test.value, evaluate(node.operand, scope)) !== node.negate;
    case "SelectExpression":
      return isTrue(evaluate(node.test, scope)) ? evaluate(node.lhs, scope) : undefined;
    case "Ternary":
      return evaluate(
        isTrue(evaluate(node.condition, scope)) ? node.trueExpr : node.falseExpr,
        scope,
      );
    case "UnaryExpression":
      return unary(node.operator.value, evaluate(node.argument, scope));
    case "BinaryExpression":
      return binary(node, scope);
    default:
      throw new SyntaxError(`unexpected ${node.type}`);
  }
}

function renderAll(nodes: readonly Node[], scope: Scope): string {
  let said = "";
  for (const node of nodes) said += toText(evaluate(node, scope));
  return said;
}

function renderLoop(node: Extract<Node, { type: "For" }>, scope: Scope): string {
  const { loopvar, iterable, body, defaultBlock } = node;
  const within = (item: Value) => {
    const inner = scope.inner();
    assign(loopvar, item, inner);
    return inner;
  };
  const filtered = iterable.type === "SelectExpression" ? iterable : undefined;
  const all = iterate(evaluate(filtered?.lhs ?? iterable, scope));
  const items = filtered
    ? all.filter((item) => isTrue(evaluate(filtered.test, within(item))))
    : [...all];
  if (items.length === 0) return renderAll(defaultBlock, scope);
  let said = "";
  for (const [index, item] of items.entries()) {
    const inner = within(item);
    inner.set("loop", new Loop(items, index));
    try {
      // Piece by piece: what stands before a break is said.
      for (const child of body) said += toText(evaluate(child, inner));
    } catch (thrown) {
      if (thrown === BREAK) break;
      if (thrown !== CONTINUE) throw thrown;
    }
  }
  return said;
}

function assign(target: Node, value: Value, scope: Scope): void {
  if (target.type === "Identifier") scope.set(target.value, value);
  else if (target.type === "TupleLiteral") {
    const values = iterate(value);
    if (values.length !== target.value.length) {
      throw new RangeError(`expected ${target.value.length} values, got ${values.length}`);
    }
    target.value.forEach((each, index) => assign(each, values[index], scope));
  } else if (target.type === "MemberExpression" && target.property.type === "Identifier") {
    const object = evaluate(target.object, scope);
    if (!(object instanceof Namespace))
      throw new TypeError("only a namespace's attributes can be set");
    object.names.set(target.property.value, value);
  } else throw new SyntaxError(`cannot assign to ${target.type}`);
}

/** Sees what its place sees; arguments by place or name, else their defaults. */
function macro(parameters: readonly Parameter[], body: readonly Node[], scope: Scope): Callable {
  return (args, keywords) => {
    const inner = scope.inner();
    inner.set("caller", keywords.get("caller"));
    parameters.forEach((parameter, index) => {
      const name = parameter.type === "Identifier" ? parameter.value : parameter.key.value;
      const otherwise = () =>
        parameter.type === "Identifier" ? undefined : evaluate(parameter.value, inner);
      inner.set(
        name,
        index < args.length ? args[index] : keywords.has(name) ? keywords.get(name) : otherwise(),
      );
    });
    return renderAll(body, inner);
  };
}

function readArguments(nodes: readonly Node[], scope: Scope): [Value[], Dict] {
  const args: Value[] = [];
  const keywords: Dict = new Map();
  for (const node of nodes) {
    if (node.type === "SpreadExpression") args.push(...iterate(evaluate(node.argument, scope)));
    else if (node.type === "KeywordArgumentExpression")
      keywords.set(node.key.value, evaluate(node.value, scope));
    else if (node.type === "KeywordSpreadExpression") {
      const dict = evaluate(node.argument, scope);
      if (dict instanceof Map) for (const [key, value] of dict) keywords.set(key, value);
    } else args.push(evaluate(node, scope));
  }
  return [args, keywords];
}

function call(node: Call, scope: Scope, caller?: Callable): Value {
  const callee = evaluate(node.callee, scope);
  if (typeof callee !== "function") {
    throw new TypeError(`${nameOf(node.callee)} is ${typeName(callee)} and cannot be called`);
  }
  const [args, keywords] = readArguments(node.args, scope);
  if (caller) keywords.set("caller", caller);
  return callee(args, keywords);
}

function nameOf(node: Node): string {
  if (node.type === "Identifier") return node.value;
  if (node.type !== "MemberExpression") return "this";
  return `${nameOf(node.object)}.${nameOf(node.property)}`;
}

function applyFilter(value: Value, node: Identifier | Call, scope: Scope): Value {
  const isCall = node.type === "CallExpression";
  const name = isCall ? (node.callee as Identifier).value : node.value;
  const [args, keywords] = readArguments(isCall ? node.args : [], scope);
  return filter(name)(value, args, keywords);
}

/** `a.b` is a method before it is a key, `a["b"]` the other way round. */
function member(node: Extract<Node, { type: "MemberExpression" }>, scope: Scope): Value {
  const object = evaluate(node.object, scope);
  if (object === undefined) throw new TypeError(`${nameOf(node.object)} is undefined`);
  if (node.property.type === "SliceExpression") return slice(object, node.property, scope);
  const isName = !node.computed && node.property.type === "Identifier";
  const key = isName ? (node.property as Identifier).value : evaluate(node.property, scope);
  if (typeof key === "string") {
    if (object instanceof Loop) return object.get(key);
    if (object instanceof Namespace) return object.names.get(key);
  }
  const method = () => (typeof key === "string" ? methodOf(object, key) : undefined);
  if (isName) return method() ?? at(object, key);
  const value = at(object, key);
  return value === undefined ? method() : value;
}

function at(object: Value, key: Value): Value {
  if (object instanceof Map) return typeof key === "string" ? object.get(key) : undefined;
  if (typeof key !== "bigint") return undefined;
  if (typeof object === "string") return Array.from(object).at(Number(key));
  return Array.isArray(object) ? object.at(Number(key)) : undefined;
}

function slice(
  object: Value,
  node: Extract<Node, { type: "SliceExpression" }>,
  scope: Scope,
): Value {
  const given = (bound: Node | undefined) => {
    const value = bound && evaluate(bound, scope);
    return isNumber(value) ? Number(value) : undefined;
  };
  const items = iterate(object);
  const step = given(node.step) ?? 1;
  const bound = (value: number | undefined, otherwise: number) => {
    if (value === undefined) return otherwise;
    const place = value < 0 ? value + items.length : value;
    return step > 0
      ? Math.min(Math.max(place, 0), items.length)
      : Math.min(Math.max(place, -1), items.length - 1);
  };
  const [start, stop] =
    step > 0
      ? [bound(given(node.start), 0), bound(given(node.stop), items.length)]
      : [bound(given(node.start), items.length - 1), bound(given(node.stop), -1)];
  const taken: Value[] = [];
  for (let index = start; step > 0 ? index < stop : index > stop; index += step)
    taken.push(items[index]);
  return typeof object === "string" ? taken.map(toText).join("") : taken;
}

function unary(operator: string, value: Value): Value {
  if (operator === "not") return !isTrue(value);
  if (typeof value === "bigint" || typeof value === "number")
    return operator === "-" ? -value : value;
  throw new TypeError(`no ${operator} of ${typeName(value)}`);
}

function binary(node: Extract<Node, { type: "BinaryExpression" }>, scope: Scope): Value {
  const operator = node.operator.value;
  const left = evaluate(node.left, scope);
  if (operator === "and") return isTrue(left) ? evaluate(node.right, scope) : left;
  if (operator === "or") return isTrue(left) ? left : evaluate(node.right, scope);
  const right = evaluate(node.right, scope);
  switch (operator) {
    case "==":
      return equals(left, right);
    case "!=":
      return !equals(left, right);
    case "in":
      return contains(right, left);
    case "not in":
      return !contains(right, left);
    case "~":
      return toText(left) + toText(right);
    case "<":
      return compare(left, right) < 0;
    case ">":
      return compare(left, right) > 0;
    case "<=":
      return compare(left, right) <= 0;
    case ">=":
      return compare(left, right) >= 0;
    default:
      return arithmetic(operator, left, right);
  }
}

function arithmetic(operator: string, left: Value, right: Value): Value {
  if (operator === "+" && typeof left === "string" && typeof right === "string")
    return left + right;
  if (operator === "+" && Array.isArray(left) && Array.isArray(right)) return [...left, ...right];
  if (operator === "*" && typeof left === "string" && typeof right === "bigint") {
    return left.repeat(Math.max(0, Number(right)));
  }
  if (!isNumber(left) || !isNumber(right)) {
    throw new TypeError(`no ${operator} of ${typeName(left)} and ${typeName(right)}`);
  }
  if (typeof left === "number" || typeof right === "number" || operator === "/") {
    return onFloats(operator, Number(left), Number(right));
  }
  return onWholes(operator, BigInt(left), BigInt(right));
}

function onWholes(operator: string, left: bigint, right: bigint): Value {
  const remainder = () => ((left % right) + right) % right;
  switch (operator) {
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "*":
      return left * right;
    case "//":
      return (left - remainder()) / right;
    case "%":
      return remainder();
    default:
      return right < 0n ? onFloats(operator, Number(left), Number(right)) : left ** right;
  }
}

function onFloats(operator: string, left: number, right: number): number {
  switch (operator) {
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "*":
      return left * right;
    case "/":
      return left / right;
    case "//":
      return Math.floor(left / right);
    case "%":
      return left - right * Math.floor(left / right);
    default:
      return left ** right;
  }
}
