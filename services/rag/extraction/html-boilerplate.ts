/**
 * What of a page is not what the page is about: scripts, menus, crumbs, marks beside headings. Some of it shows when an
 * element opens, the rest only when it closes, by what was in it.
 */

/** Attributes as the parser gives them: lower-case names. */
export type Attributes = Readonly<Record<string, string>>;

/** Elements whose contents nobody reads as text. */
const unreadable = new Set([
  "script", "style", "template", "noscript", "svg", "iframe", "object", "canvas", "audio", "video", "map", "button",
  "select", "textarea", "datalist", "dialog", "annotation", "annotation-xml",
]);
const unreadableRoles = new Set(["search", "menu", "menubar", "dialog", "toolbar"]);

/** True when the element and all in it are left out. */
export function isUnreadable(name: string, attributes: Attributes): boolean {
  if (unreadable.has(name) || "hidden" in attributes || attributes["aria-hidden"] === "true") return true;
  const { role, style } = attributes;
  return (role !== undefined && unreadableRoles.has(role)) || (style !== undefined && /display\s*:\s*none/i.test(style));
}

const navigationTags = new Set(["nav", "footer"]);
const navigationRoles = new Set(["navigation", "contentinfo", "banner"]);
const navigationClass =
  /^(?:nav|navbar|navigation|nav-?header|nav-?footer|site-?nav|sidebar|sphinxsidebar|breadcrumbs?|headerlink|anchor-?link|skip-(?:link|to-content)|linenos|line-?numbers|(?:site-|page-)?footer|pagination|cookie-(?:banner|notice)|social-share)$/i;
const menuClass = /^(?:(?:main-|side-|top-)?menu|toc|table-of-contents|contents|related|related-posts|share|tags|links|header|index)$/i;
/** Elements that hold menus; a link or a heading with such a class is just a link or a heading. */
const containers = new Set(["div", "ul", "ol", "section", "table", "dl", "p"]);

export type Suspicion = "navigation" | "menu" | "list" | "aside" | "none";

/** What an element may turn out to be, judged by its name, role and classes. */
export function suspicionOf(name: string, attributes: Attributes): Suspicion {
  if (navigationTags.has(name)) return "navigation";
  const { role, class: classes, id } = attributes;
  if (role !== undefined && navigationRoles.has(role)) return "navigation";
  if (name === "aside" || name === "header" || role === "complementary") return "aside";
  if (name === "body" || name === "html" || name === "main" || name === "article") return "none";
  const names = `${classes ?? ""} ${id ?? ""}`.split(" ");
  if (names.some((each) => navigationClass.test(each))) return "navigation";
  if (!containers.has(name)) return "none";
  return names.some((each) => menuClass.test(each)) ? "menu" : "list";
}

/** What was written while an element was open. */
export interface Contents {
  /** Characters that are no white space. */
  characters: number;
  /** Those of them inside links. */
  linkCharacters: number;
  links: number;
  headings: number;
  /** The page's main part lies inside. */
  holdsMain: boolean;
  /** The element itself lies inside the main part. */
  inMain: boolean;
}

/** Decides when an element closes whether what it wrote is taken back. */
export function isBoilerplate(suspicion: Suspicion, contents: Contents): boolean {
  if (suspicion === "none" || contents.holdsMain) return false;
  const linkShare = contents.characters === 0 ? 0 : contents.linkCharacters / contents.characters;
  switch (suspicion) {
    case "navigation":
      return true;
    case "menu":
      return linkShare > 0.5;
    case "aside":
      // The header of a page without a main part often holds its title; an aside inside the main part is a remark.
      return !contents.inMain && contents.headings === 0;
    case "list":
      // Outside the main part, a block of nothing but links is a menu; inside, it may be the index that the page is.
      return !contents.inMain && contents.links >= 5 && linkShare > 0.85;
  }
}

/** The text of links that lead to the heading which they stand in. */
export const selfLinkText = /^\s*(?:¶|§|#|🔗|\u{f0c1})\s*$/u;
