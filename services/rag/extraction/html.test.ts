import { describe, expect, test } from "vitest";
import { extract } from "./extract.js";
import { extractHtml, MAX_HTML_DEPTH } from "./html.js";

const textOf = async (html: string) => (await extractHtml(html)).text;
const prose = "The bearing of the pump needs lithium grease every 900 hours, as the manual says. ".repeat(3).trim();

describe("what a page becomes", () => {
  test.each([
    { name: "headings", html: "<h1>Pump</h1><p>One.</p><h3>Oil</h3>Two.", text: "# Pump\n\nOne.\n\n### Oil\n\nTwo." },
    { name: "blocks and line breaks", html: "<div>One<div>Two</div>Three<br>Four</div>", text: "One\n\nTwo\n\nThree\nFour" },
    { name: "white space", html: "<p> One \n  two&nbsp;&nbsp; <b> three</b> </p>", text: "One two three" },
    { name: "entities", html: "<p>5 &lt; 6 &amp; &eacute; &#x1F600;</p>", text: "5 < 6 & é 😀" },
    { name: "lists", html: "<ul><li>a<li>b<ol><li><p>c</p></li><li>d</li></ol></ul>", text: "- a\n- b\n  1. c\n  2. d" },
    { name: "definitions", html: "<dl><dt>zlib.crc32(data)</dt><dd><p>A checksum.</p></dd></dl>", text: "zlib.crc32(data)\n\nA checksum." },
    { name: "a table with a header", html: "<table><tr><th>k<th>v</tr><tr><td>a<td><p>1</p></tr></table>", text: "| k | v |\n|---|---|\n| a | 1 |" },
    { name: "empty cells", html: "<table><tr><td></td><td>x</td><td></td></tr></table>", text: "| | x | |" },
    { name: "a table that lays out the page", html: "<table><tr><td><h2>A</h2>one</td><td>two</td></tr></table>", text: "## A\n\none\n\ntwo" },
    { name: "code in the line", html: "<p>Call <code>open()</code>, <code> a`b </code>.</p>", text: "Call `open()`, a`b ." },
    { name: "code blocks", html: "<pre><code class='language-ts'>\nif (a) {\n\n\n  b();\n}\n</code></pre>", text: "```ts\nif (a) {\n\n\n  b();\n}\n```" },
    { name: "a code block with fences in it", html: "<pre>```\nx\n```</pre>", text: "````\n```\nx\n```\n````" },
    { name: "highlighted code", html: "<div class='highlight-python3'><div class=highlight><pre><span>x</span> = <b>1</b></pre></div></div>", text: "```python3\nx = 1\n```" },
    { name: "two versions of an example in one block", html: "<pre><code>import a;</code><code>require(a);</code></pre>", text: "```\nimport a;\nrequire(a);\n```" },
    { name: "pictures", html: "<p><img alt='A valve'> <a href=x><img alt=Prev></a></p>", text: "A valve" },
    { name: "text that looks like a mark", html: "<p># no heading</p><p>---</p><p>```</p><p>#hash</p>", text: "\\# no heading\n\n\\---\n\n\\```\n\n#hash" },
    { name: "marks that lead to their heading", html: "<h2><a href=#x>Oil</a><a class=headerlink href=#x>¶</a> <a href=#x>#</a></h2>x", text: "## Oil\n\nx" },
    { name: "no tags", html: "just text", text: "just text" },
    { name: "tags that are never closed", html: "<div><p>a<ul><li>b", text: "a\n\n- b" },
  ])("$name", async ({ html, text }) => {
    expect(await textOf(html)).toBe(text);
  });
});

describe("what is left out", () => {
  test.each([
    { name: "scripts and styles", html: `<script>evil()</script><style>p{}</style><p>${prose}</p><noscript>Turn it on</noscript>` },
    { name: "hidden elements", html: `<p hidden>x</p><p aria-hidden=true>x</p><p style="display: none">x</p><p>${prose}</p>` },
    { name: "navigation and footer", html: `<nav><a href=a>Home</a></nav><p>${prose}</p><footer>© 2026</footer>` },
    { name: "roles", html: `<div role=navigation>Crumbs</div><p>${prose}</p><div role=search>Find</div>` },
    { name: "classes of menus", html: `<div class="top sidebar">Menu</div><p>${prose}</p><ul class=toc><li><a href=#a>One</a></ul>` },
    { name: "blocks of nothing but links", html: `<ul>${"<li><a href=x>Somewhere else</a>".repeat(9)}</ul><p>${prose}</p>` },
    { name: "all around a main part", html: `<div>Banner</div><main><p>${prose}</p></main><div>Related</div>` },
    { name: "all around a part with the role main", html: `<div>Banner</div><div role=main>${prose}</div>Related` },
    { name: "all around the only article", html: `<div>Banner</div><article>${prose}</article>Related` },
    { name: "an empty main part is none", html: `<main></main><p>${prose}</p>` },
    { name: "the head", html: `<head><title>T</title><meta name=description content=D></head><body>${prose}` },
  ])("$name", async ({ html }) => {
    expect(await textOf(html)).toBe(prose);
  });

  test("but not the page inside an element that sounds like a menu", async () => {
    expect(await textOf(`<div class=sidebar><main>${prose}</main></div>`)).toBe(prose);
    expect(await textOf(`<div class=toc>${prose}</div>`)).toBe(prose);
    expect(await textOf(`<header><h1>Pump</h1></header><p>${prose}</p>`)).toBe(`# Pump\n\n${prose}`);
  });

  test("but not an index that is the main part, nor a page that is all menu", async () => {
    const list = "<ul><li><a href=a>One</a><li><a href=b>Two</a></ul>";
    expect(await textOf(`<main>${list}</main>`)).toBe("- One\n- Two");
    expect(await textOf(`<nav>${list}</nav>`)).toBe("- One\n- Two");
  });
});

test("title, language and description are kept beside the text", async () => {
  const page = `<html lang=en><head><title> The
    pump </title><meta name="Description" content="All about it"><meta name=viewport content=x></head><p>Text</p>`;
  expect(await extractHtml(page)).toEqual({
    text: "Text",
    structure: "markdown",
    title: "The pump",
    mimeType: "text/html",
    metadata: { language: "en", description: "All about it" },
  });
});

describe("encodings", () => {
  const latin1 = (html: string) => Buffer.from(html, "latin1");
  test.each([
    { name: "UTF-8 by default", bytes: Buffer.from("<p>Größe</p>") },
    { name: "a charset of its type", bytes: latin1("<p>Größe</p>"), mimeType: "text/html; charset=ISO-8859-15" },
    { name: "a byte order mark", bytes: Buffer.from("\ufeff<p>Größe</p>") },
    { name: "UTF-16 with a mark", bytes: Buffer.from("\ufeff<p>Größe</p>", "utf16le") },
    { name: "a declared charset", bytes: latin1('<meta charset="iso-8859-1"><p>Größe</p>') },
    { name: "the older declaration", bytes: latin1('<meta http-equiv="Content-Type" content="text/html; charset=windows-1252"><p>Größe</p>') },
    { name: "none and not UTF-8, as in browsers", bytes: latin1("<p>Größe</p>") },
    { name: "an unknown declaration", bytes: Buffer.from("<meta charset=nonsense><p>Größe</p>") },
    { name: "a declaration that cannot be", bytes: Buffer.from("<meta charset=utf-16><p>Größe</p>") },
    { name: "a declaration of another alphabet", bytes: Buffer.from([...latin1("<meta charset=iso-8859-7><p>Gr"), 0xf6, 0xdf, ...latin1("e</p>")]), text: "Grφίe" },
  ])("$name", async ({ bytes, mimeType = "text/html", text = "Größe" }) => {
    expect((await extract({ content: bytes, mimeType })).text).toBe(text);
  });
});

test.each(["", "<html><body></body></html>", "<script>only()</script>", "<p>&nbsp; </p>"])("a page without text (%j) is refused", async (html) => {
  await expect(extractHtml(html)).rejects.toMatchObject({ kind: "EMPTY" });
});

test("a page nested too deep is refused", async () => {
  expect(await textOf("<div>".repeat(MAX_HTML_DEPTH - 1) + "deep")).toBe("deep");
  await expect(extractHtml("<div>".repeat(MAX_HTML_DEPTH + 1))).rejects.toMatchObject({ kind: "TOO_DEEP" });
});

test("stops between two turns when the caller has given up", async () => {
  const controller = new AbortController();
  const pending = extractHtml(`<p>${"word ".repeat(1_000_000)}</p>`, controller.signal);
  controller.abort(new Error("no longer wanted"));
  await expect(pending).rejects.toThrow("no longer wanted");
});

test.each([
  { name: "paragraphs", html: `<p>${prose}</p>`.repeat(4_000), least: 900_000 },
  { name: "one text", html: `<p>${prose.repeat(4_000)}</p>`, least: 900_000 },
  { name: "spaces in code", html: `<pre>x${" ".repeat(1_000_000)}y</pre>`, least: 1_000_000 },
  { name: "fences in code", html: `<pre>${"``` ".repeat(250_000)}</pre>`, least: 900_000 },
  { name: "self links", html: `<p>${"a".repeat(200_000)}${"<a href=#>#</a>".repeat(50_000)}</p>`, least: 200_000 },
  { name: "open links", html: `${"<div><a href=x>".repeat(900)}${"<b>w</b> ".repeat(100_000)}`, least: 100_000 },
  { name: "open code", html: `${"<code>".repeat(1_500)}${"<b>w</b> ".repeat(100_000)}`, least: 100_000 },
  { name: "stray closing tags", html: `${"<i>".repeat(1_500)}${"x</b>".repeat(200_000)}`, least: 200_000 },
  { name: "table cells", html: `<table><tr>${"<td>x".repeat(200_000)}</table>`, least: 200_000 },
  { name: "headings in tables", html: "<table><tr><td><h2>x</h2>".repeat(400) + "<h3>y</h3>".repeat(50_000), least: 50_000 },
])("1 MB on one line of $name is read in time that grows with its length", async ({ html, least }) => {
  expect((await textOf(html)).length).toBeGreaterThanOrEqual(least);
});
