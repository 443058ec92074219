import assert from "node:assert/strict";
import { test } from "node:test";
import { linkOf, plainText } from "./markdown-text.ts";

test("links lead to the web or to a mail, and nowhere else", () => {
  for (const href of ["https://a.b/c?d#e", "HTTP://a.b", "mailto:a@b.c"]) {
    assert.equal(linkOf(href), href);
  }
  const elsewhere = ["javascript:alert(1)", "JavaScript:alert(1)", "java\nscript:alert(1)"];
  for (const href of [...elsewhere, "data:text/html,x", "/status", "#a", "file:///etc", ""]) {
    assert.equal(linkOf(href), undefined, href);
  }
});

test("character references are the characters they stand for, others stay as written", () => {
  assert.equal(plainText("a &lt; b &amp;&amp; c &#65;&#x42; &mdash;"), "a < b && c AB —");
  for (const text of ["AT&T;", "&nosuch;", "&#0;", "&#x110000;", "a & b"]) {
    assert.equal(plainText(text), text);
  }
});
