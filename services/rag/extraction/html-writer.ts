import { type Attributes, isBoilerplate, isUnreadable, selfLinkText, type Suspicion, suspicionOf } from "./html-boilerplate.js";
import { MarkdownOutput } from "./markdown-output.js";

/** An element that is open, and what had been written when it opened. */
interface Frame {
  name: string;
  attributes: Attributes;
  suspicion: Suspicion;
  mark: number;
  characters: number;
  linkCharacters: number;
  links: number;
  headings: number;
  holdsMain: boolean;
}

const blocks = new Set([
  "address", "article", "aside", "blockquote", "body", "caption", "center", "details", "div", "dl", "dt", "fieldset",
  "figcaption", "figure", "footer", "form", "header", "hgroup", "hr", "main", "menu", "nav", "ol", "p", "section", "summary",
  "table", "tbody", "tfoot", "thead", "ul",
]);
const heading = /^h([1-6])$/;
/** Characters of a link that only marks a heading. */
const MAX_SELF_LINK = 2;
/** Code in the line with more text pieces than these is not quoted: it is no name but a badly closed element. */
const MAX_CODE_PIECES = 100;

/**
 * Writes what an HTML parser reads as text with Markdown's headings, lists, code and tables. Pieces are only appended;
 * what turns out to be a menu when its element closes is cut off again, so nothing is kept but the text and the open elements.
 */
export class HtmlWriter {
  readonly #out = new MarkdownOutput();
  readonly #frames: Frame[] = [];
  readonly #prune: boolean;
  /** Depth inside an element that is left out. */
  #unreadable = 0;
  #linkCharacters = 0;
  #links = 0;
  #headings = 0;
  #inLink = 0;
  #inHeading = 0;
  #inPre = 0;
  #preLanguage = "";
  /** Where the last code element inside preformatted text ended. */
  #codeEnd = -1;
  #inMain = 0;
  readonly #lists: { ordered: boolean; items: number }[] = [];
  readonly #tables: { layout: boolean; rowMarks: number[]; headerCells: number; rows: number; inCell: boolean }[] = [];
  readonly #mainParts: { start: number; end: number }[] = [];
  readonly #articles: { start: number; end: number }[] = [];

  /** @param prune whether menus and the like are left out. */
  constructor(prune: boolean) {
    this.#prune = prune;
  }

  get depth(): number {
    return this.#frames.length;
  }

  /** What was written: the main part where the page names one, else all. */
  text(): string {
    const parts = this.#mainParts.length > 0 ? this.#mainParts : this.#articles.length === 1 ? this.#articles : [{ start: 0, end: Infinity }];
    return parts
      .map(({ start, end }) => this.#out.slice(start, end).trim())
      .join("\n\n")
      .trim();
  }

  open(name: string, attributes: Attributes): void {
    this.#frames.push({
      name,
      attributes,
      suspicion: this.#prune ? suspicionOf(name, attributes) : "none",
      mark: this.#out.position,
      characters: this.#out.characters,
      linkCharacters: this.#linkCharacters,
      links: this.#links,
      headings: this.#headings,
      holdsMain: false,
    });
    if (this.#unreadable > 0 || isUnreadable(name, attributes)) {
      this.#unreadable++;
      return;
    }
    const level = heading.exec(name)?.[1];
    if (level !== undefined) this.#openHeading(Number(level));
    else if (name === "br") this.#lineBreak();
    else if (name === "a") this.#openLink(attributes);
    else if (name === "img") this.#image(attributes);
    else if (name === "pre") this.#openPre();
    else if (name === "code") this.#openCode(attributes);
    else if (name === "li") this.#openItem();
    else if (name === "dd") this.#break(1);
    else if (name === "tr") this.#openRow();
    else if (name === "td" || name === "th") this.#openCell(name);
    else if (blocks.has(name)) this.#openBlock(name, attributes);
  }

  close(name: string): void {
    const frame = this.#frames.pop();
    if (frame === undefined) return;
    if (this.#unreadable > 0) {
      this.#unreadable--;
      return;
    }
    if (heading.test(name)) this.#closeHeading(frame);
    else if (name === "a") this.#closeLink(frame);
    else if (name === "code" || name === "kbd" || name === "samp") this.#closeCode(frame);
    else if (name === "pre") this.#closePre(frame);
    else if (name === "li") this.#closeItem(frame);
    else if (name === "tr") this.#closeRow(frame);
    else if (name === "td" || name === "th") this.#closeCell();
    else if (name === "dd") this.#break(1);
    else if (blocks.has(name)) this.#closeBlock(name, frame);
    this.#takeBackBoilerplate(frame);
  }

  /** Text between tags, entities already decoded; may come in any number of pieces. */
  write(data: string): void {
    if (this.#unreadable > 0) return;
    const before = this.#out.characters;
    if (this.#inPre > 0) this.#out.verbatim(data);
    else this.#out.text(data);
    if (this.#inLink > 0) this.#linkCharacters += this.#out.characters - before;
  }

  #break(lines: 1 | 2): void {
    const table = this.#tables.at(-1);
    if (this.#inHeading > 0 || (table?.inCell === true && !table.layout)) this.#out.space();
    else this.#out.break(lines);
  }

  #isEmpty(frame: Frame): boolean {
    return this.#out.characters === frame.characters;
  }

  #takeBack(frame: Frame): void {
    this.#out.takeBack(frame.mark, frame.characters);
    this.#linkCharacters = frame.linkCharacters;
    this.#links = frame.links;
    this.#headings = frame.headings;
  }

  #takeBackBoilerplate(frame: Frame): void {
    const contents = {
      characters: this.#out.characters - frame.characters,
      linkCharacters: this.#linkCharacters - frame.linkCharacters,
      links: this.#links - frame.links,
      headings: this.#headings - frame.headings,
      holdsMain: frame.holdsMain,
      inMain: this.#inMain > 0,
    };
    if (!isBoilerplate(frame.suspicion, contents)) return;
    this.#takeBack(frame);
    while ((this.#articles.at(-1)?.end ?? 0) > this.#out.position) this.#articles.pop();
    if (blocks.has(frame.name)) this.#break(2);
  }

  #lineBreak(): void {
    if (this.#inPre > 0) this.#out.verbatim("\n");
    else this.#break(1);
  }

  #openHeading(level: number): void {
    this.#breakLayout();
    this.#break(2);
    if (this.#inHeading++ === 0) this.#out.mark(`${"#".repeat(level)} `);
  }

  #closeHeading(frame: Frame): void {
    this.#inHeading--;
    if (this.#inHeading > 0) return;
    if (this.#isEmpty(frame)) this.#takeBack(frame);
    else this.#headings++;
    this.#break(2);
  }

  #openLink(attributes: Attributes): void {
    this.#inLink++;
    if ("href" in attributes) this.#links++;
  }

  #closeLink(frame: Frame): void {
    this.#inLink--;
    if (this.#out.characters - frame.characters > MAX_SELF_LINK) return;
    if (selfLinkText.test(this.#out.slice(frame.mark))) this.#takeBack(frame);
  }

  #image(attributes: Attributes): void {
    if (this.#inLink === 0 && this.#inPre === 0 && attributes["alt"] !== undefined) this.write(` ${attributes["alt"]} `);
  }

  #openCode(attributes: Attributes): void {
    if (this.#inPre > 0) this.#preLanguage ||= languageOf(attributes);
    // Two code elements side by side in preformatted text are two versions or two lines, not one word.
    if (this.#inPre > 0 && this.#codeEnd === this.#out.position) this.#out.verbatim("\n");
  }

  #closeCode(frame: Frame): void {
    if (this.#inPre > 0) this.#codeEnd = this.#out.position;
    if (this.#inPre > 0 || this.#inHeading > 0 || this.#out.position - frame.mark > MAX_CODE_PIECES) return;
    const code = this.#out.slice(frame.mark);
    const trimmed = code.trim();
    if (trimmed === "" || /[`\n]/.test(trimmed)) return;
    const end = code.trimEnd().length;
    this.#out.replaceSince(frame.mark, code.slice(0, code.length - code.trimStart().length), "`", trimmed, "`", code.slice(end));
  }

  #openPre(): void {
    this.#breakLayout();
    this.#break(2);
    if (this.#inPre++ === 0) {
      this.#out.flushBreaks();
      this.#preLanguage = "";
      this.#frames.at(-1)!.mark = this.#out.position;
    }
  }

  #closePre(frame: Frame): void {
    this.#inPre--;
    if (this.#inPre > 0) return;
    this.#codeEnd = -1;
    const code = this.#out.slice(frame.mark).trimEnd().replace(/^\n+/, "").replaceAll("\u00a0", " ");
    const longest = (code.match(/`{3,}/g) ?? []).reduce((most, run) => Math.max(most, run.length), 2);
    const fence = "`".repeat(longest + 1);
    this.#out.replaceWithBlock(frame.mark, code === "" ? "" : `${fence}${this.#codeLanguage(frame)}\n${code}\n${fence}`);
  }

  /** From the classes of the code inside, of the element, or of the two around it. */
  #codeLanguage(pre: Frame): string {
    const around = [pre, ...this.#frames.slice(-2).reverse()].map(({ attributes }) => languageOf(attributes));
    return this.#preLanguage || (around.find((language) => language !== "") ?? "");
  }

  #openItem(): void {
    this.#break(1);
    const list = this.#lists.at(-1);
    if (this.#inHeading > 0 || this.#tables.at(-1)?.inCell === true) return;
    if (list !== undefined) list.items++;
    const indent = "  ".repeat(Math.max(0, this.#lists.length - 1));
    this.#out.mark(`${indent}${list?.ordered === true ? `${list.items}.` : "-"} `);
  }

  #closeItem(frame: Frame): void {
    if (this.#isEmpty(frame)) this.#takeBack(frame);
    if (this.#tables.at(-1)?.inCell === true) this.#break(1);
    else this.#out.tightBreak();
  }

  #openRow(): void {
    this.#break(1);
    const table = this.#tables.at(-1);
    if (table !== undefined) Object.assign(table, { rowMarks: [], headerCells: 0, inCell: false });
  }

  #openCell(name: string): void {
    const table = this.#tables.at(-1);
    if (table === undefined || table.layout) {
      this.#break(2);
      return;
    }
    table.inCell = true;
    if (name === "th") table.headerCells++;
    this.#out.mark(table.rowMarks.length === 0 ? "| " : this.#out.isAfterSpace ? "| " : " | ");
    table.rowMarks.push(this.#out.position - 1);
  }

  #closeCell(): void {
    const table = this.#tables.at(-1);
    if (table === undefined || table.layout) this.#break(2);
    else table.inCell = false;
  }

  #closeRow(frame: Frame): void {
    const table = this.#tables.at(-1);
    if (this.#isEmpty(frame)) {
      this.#takeBack(frame);
    } else if (table !== undefined && !table.layout && table.rowMarks.length > 0) {
      this.#out.mark(this.#out.isAfterSpace ? "|" : " |");
      if (table.rows++ === 0 && table.headerCells === table.rowMarks.length) this.#out.mark(`\n|${"---|".repeat(table.headerCells)}`);
    }
    this.#break(1);
  }

  /** A table whose cells hold headings, code or tables lays out the page: its cells become blocks. */
  #breakLayout(): void {
    for (const table of this.#tables) {
      if (table.layout) continue;
      table.layout = true;
      for (const mark of table.rowMarks) this.#out.emptyLineAt(mark);
    }
  }

  #openBlock(name: string, attributes: Attributes): void {
    if (name === "table") {
      this.#breakLayout();
      this.#break(2);
      this.#tables.push({ layout: false, rowMarks: [], headerCells: 0, rows: 0, inCell: false });
      return;
    }
    if (name === "ul" || name === "ol") {
      this.#break(this.#lists.length === 0 ? 2 : 1);
      this.#lists.push({ ordered: name === "ol", items: 0 });
      return;
    }
    this.#break(2);
    if (isMain(name, attributes) && this.#inMain++ === 0) this.#mainParts.push({ start: this.#out.position, end: Infinity });
  }

  #closeBlock(name: string, frame: Frame): void {
    if (name === "table") this.#tables.pop();
    if (name === "ul" || name === "ol") this.#lists.pop();
    if (isMain(name, frame.attributes) && --this.#inMain === 0) this.#closeMain();
    if (name === "article" && !this.#frames.some((open) => open.name === "article")) {
      this.#articles.push({ start: frame.mark, end: this.#out.position });
    }
    this.#break(name === "ul" || name === "ol" ? (this.#lists.length === 0 ? 2 : 1) : 2);
  }

  #closeMain(): void {
    const part = this.#mainParts.at(-1)!;
    part.end = this.#out.position;
    // A main part that came out empty says nothing; the page is read as if it had none.
    if (this.#out.slice(part.start).trim() === "") this.#mainParts.pop();
    else for (const open of this.#frames) open.holdsMain = true;
  }
}

/** As highlighters name it in a class; empty when they do not. */
function languageOf(attributes: Attributes): string {
  const language = /(?:^|\s)(?:language|lang|highlight(?:-source)?)-([\w+#-]+)/.exec(attributes["class"] ?? "")?.[1] ?? "";
  return language === "default" || language === "none" ? "" : language;
}

function isMain(name: string, attributes: Attributes): boolean {
  return name === "main" || attributes["role"] === "main";
}
