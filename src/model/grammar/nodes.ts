/**
 * A grammar as nodes: what a text is made of. A machine walks them; objects and arrays are nodes of
 * their own, since what may follow depends on which keys, and how many items, there have been.
 */
import type { Expression } from "./expressions.ts";
import type { NumberBounds } from "./number.ts";

export type Node =
  | { readonly kind: "expression"; readonly expression: Expression }
  | { readonly kind: "number"; readonly bounds: NumberBounds }
  /** One of some tokens that are no text. */
  | { readonly kind: "tokens"; readonly tokens: ReadonlySet<number> }
  | { readonly kind: "sequence"; readonly of: readonly Node[] }
  | { readonly kind: "choice"; readonly of: readonly Node[] }
  | { readonly kind: "repeat"; readonly of: Node; readonly min: number; readonly max: number }
  /** Found when it is first needed, so that rules may hold each other. */
  | { readonly kind: "rule"; readonly find: () => Node }
  | ObjectNode
  | ArrayNode;

/** What stands around and between an array's items, white space included. */
export interface ArrayPunctuation {
  readonly open: Node;
  readonly close: Node;
  /** Before the first item. */
  readonly first: Node;
  readonly comma: Node;
}

/** And between a member's key and its value. */
export interface ObjectPunctuation extends ArrayPunctuation {
  readonly colon: Node;
}

/** Members in any order, a named one at most once. */
export interface ObjectNode {
  readonly kind: "object";
  readonly punctuation: ObjectPunctuation;
  readonly named: readonly NamedMember[];
  /** Members of all other names that may be, by classes of names that share no name. */
  readonly unnamed: readonly Member[];
  readonly min: number;
  readonly max: number;
}

export interface Member {
  /** As it is written, with its quotes. */
  readonly key: Node;
  readonly value: Node;
}

export interface NamedMember extends Member {
  readonly required: boolean;
}

export interface ArrayNode {
  readonly kind: "array";
  readonly punctuation: ArrayPunctuation;
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

export const nodeOf = (expression: Expression): Node => ({ kind: "expression", expression });

/** No text at all. */
export const emptyNode: Node = { kind: "sequence", of: [] };
