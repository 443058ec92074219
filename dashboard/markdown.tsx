import { lexer, type MarkedToken, type Token, type Tokens } from "marked";
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import { linkOf, plainText } from "./markdown-text.ts";

/**
 * Markdown as elements of the page. No HTML is ever made of a text: what looks like HTML is shown as it was
 * written, images as their description, and links lead to the web or to a mail.
 */
export function Markdown({ text }: { text: string }) {
  const parts = useMemo(() => all(lexer(text)), [text]);
  return <div class="markdown">{parts}</div>;
}

const all = (tokens: readonly Token[] | undefined): ComponentChildren =>
  tokens?.map((token, index) => <Part key={index} token={token as MarkedToken} />);

function Part({ token }: { token: MarkedToken }) {
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "heading":
      return <p class="heading">{all(token.tokens)}</p>;
    case "paragraph":
      return <p>{all(token.tokens)}</p>;
    case "text":
      return <>{token.tokens ? all(token.tokens) : plainText(token.text)}</>;
    case "strong":
      return <strong>{all(token.tokens)}</strong>;
    case "em":
      return <em>{all(token.tokens)}</em>;
    case "del":
      return <del>{all(token.tokens)}</del>;
    case "codespan":
      return <code>{token.text}</code>;
    case "br":
      return <br />;
    case "hr":
      return <hr />;
    case "code":
      return (
        <pre tabIndex={0}>
          <code>{token.text}</code>
        </pre>
      );
    case "blockquote":
      return <blockquote>{all(token.tokens)}</blockquote>;
    case "list":
      return <List list={token} />;
    case "checkbox":
      return <>{token.checked ? "☑ " : "☐ "}</>;
    case "table":
      return <Table table={token} />;
    case "link":
      return <Link link={token} />;
    case "image":
      return <>{token.text}</>;
    case "escape":
      return <>{token.text}</>;
    default:
      return <>{token.raw}</>;
  }
}

function Link({ link }: { link: Tokens.Link }) {
  const href = linkOf(link.href);
  if (!href) return <>{all(link.tokens)}</>;
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {all(link.tokens)}
    </a>
  );
}

function List({ list }: { list: Tokens.List }) {
  const items = list.items.map((item, index) => <li key={index}>{all(item.tokens)}</li>);
  return list.ordered ? <ol start={Number(list.start) || 1}>{items}</ol> : <ul>{items}</ul>;
}

function Table({ table }: { table: Tokens.Table }) {
  const cells = (row: readonly Tokens.TableCell[], Cell: "th" | "td") => (
    <tr>
      {row.map((cell, index) => (
        <Cell key={index} style={cell.align ? { textAlign: cell.align } : {}}>
          {all(cell.tokens)}
        </Cell>
      ))}
    </tr>
  );
  return (
    <div class="table" tabIndex={0}>
      <table>
        <thead>{cells(table.header, "th")}</thead>
        <tbody>{table.rows.map((row) => cells(row, "td"))}</tbody>
      </table>
    </div>
  );
}
