/**
 * A grammar as nodes: what a text is made of. A machine walks them; objects and arrays are nodes of
 * their own, since what may follow depends on which keys, and how many items, there have been.
 */
import type { Expression } from "./expressions.ts";
import type { NumberBounds } from "./number.ts";

export type Node =
  | { readonly kind: "expression"; readonly expression: Expression }
  | { readonly kind: "number"; readonly bounds: NumberBounds }
  /** One token that is no text. */
  | { readonly kind: "token"; readonly token: number }
  | { readonly kind: "sequence"; readonly of: readonly Node[] }
  | { readonly kind: "choice"; readonly of: readonly Node[] }
  | { readonly kind: "repeat"; readonly of: Node; readonly min: number; readonly max: number }
  /** Found when it is first needed, so that rules may hold each other. */
  | { readonly kind: "rule"; readonly find: () => Node }
  | ObjectNode
  | ArrayNode;

/** Members in any order, a named one at most once. */
export interface ObjectNode {
  readonly kind: "object";
  readonly named: readonly NamedMember[];
  /** Members of all other names that may be, by classes of names that share no name. */
  readonly unnamed: readonly Member[];
  readonly min: number;
  readonly max: number;
}

export interface Member {
  /** As it is written, with its quotes. */
  readonly key: Expression;
  readonly value: Node;
}

export interface NamedMember extends Member {
  readonly required: boolean;
}

export interface ArrayNode {
  readonly kind: "array";
  /** By index; the last is that of all after it. */
  readonly items: readonly ItemNodes[];
  readonly min: number;
  readonly max: number;
  /** How many items must be such as `wanted` says. */
  readonly minWanted: number;
  readonly maxWanted: number;
}

/** An item that counts for `wanted`, and one that does not; without `wanted` there is one kind. */
export interface ItemNodes {
  readonly wanted?: Node;
  readonly other?: Node;
}
