/**
 * A quoted sentence as people read it: without Markdown's marks, link targets,
 * footnote numbers (they would read as citations) and line breaks. Every word
 * that stays is the document's.
 */
export function readable(quote: string): string {
  return quote
    .replace(/<!--[\s\S]*?-->/g, " ")
    .replace(/!\[[^\]]*\]\([^)]*\)/g, " ")
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/\[([^\]]+)\]\[[^\]]*\]/g, "$1")
    .replace(/\[\^?\d+(?:\s*[,-]\s*\d+)*\]/g, "")
    .replace(/^\s*\||\|\s*$/g, "")
    .replace(/\s*\|\s*/g, ", ")
    .replace(/(\*\*|__)(?=\S)([\s\S]*?\S)\1/g, "$2")
    .replace(/(?<![\w*])\*(?=[^\s*])([^*\n]*[^\s*])\*(?![\w*])/g, "$1")
    .replace(/\s+/g, " ")
    .trim();
}
