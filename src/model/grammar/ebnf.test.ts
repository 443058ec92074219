import assert from "node:assert/strict";
import { test } from "node:test";
import { compileGrammar } from "./grammar.ts";
import { walks } from "./suite-fixtures.ts";

const allows = (grammar: string, text: string) =>
  walks(compileGrammar({ kind: "ebnf", grammar }), text);

const lists = String.raw`
# lists in each other
root ::= "[" item ("," ws item)* "]"
item ::= word | root | number{1,2}
word ::= [a-z] [^,\[\]]? |
  "\"\u00e9\n"
number ::= [0-9]
ws ::= " "*
`;

test("texts are those that the rules make", () => {
  for (const text of ["[a]", "[a,  bé]", "[[[12],c]]", '["é\n]', "[1]"]) {
    assert.ok(allows(lists, text), text);
  }
  for (const text of ["", "[]", "[a", "[abc]", "[123]", "[a]]", "[a  ,b]", "[,]"]) {
    assert.ok(!allows(lists, text), text);
  }
  assert.ok(allows('root ::= ("a" | "b"){2,3} .', "aba\u{1f600}"));
  assert.ok(!allows('root ::= ("a" | "b"){2,3} .', "a\u{1f600}"));
});

test("rules may go on for ever on their right, in the middle and where they are empty", () => {
  const sums = 'root ::= term tail\ntail ::= "+" term tail | ""\nterm ::= [0-9]+ | "(" root ")"';
  assert.ok(allows(sums, "1+(2+33)+4"));
  assert.ok(!allows(sums, "1+(2+33"));
  assert.ok(!allows(sums, "1+"));
});

test("a grammar that cannot be followed is refused by its rule or line", () => {
  const refused: [string, RegExp][] = [
    ['root ::= root "a" | "b"', /^grammar: root begins with itself$/],
    ['root ::= a? b\na ::= "x"\nb ::= a? root', /^grammar: b begins with itself$/],
    ['root ::= "a" root', /^grammar: root never comes to an end$/],
    ["root ::= other", /^grammar: no rule is called other$/],
    ['a ::= "x"', /^grammar: no rule is called root$/],
    ['root ::= "a"\nroot ::= "b"', /^grammar, line 2: root has been told before$/],
    ['root ::= "a" )', /^grammar, line 1: expected NAME ::= …$/],
    ['root ::= ("a"', /^grammar, line 1: expected \)$/],
    ["root ::= [z-a]", /^grammar, \[z-a\]: a range that ends before it begins/],
    ['root ::= "a"{3,2}', /^grammar, line 1: \{3,2\} is no repetition$/],
    ["start: a", /^grammar, line 1: expected NAME ::= …$/],
  ];
  for (const [grammar, message] of refused) {
    const compile = () => compileGrammar({ kind: "ebnf", grammar });
    assert.throws(compile, { name: "GrammarError", message }, grammar);
  }
});
