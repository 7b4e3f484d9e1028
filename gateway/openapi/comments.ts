/** Comments of proto elements by full name: package.Message, package.Message.field, package.Enum.VALUE, ... */
export type Comments = Readonly<Record<string, string>>;

/** A comment, taken apart. */
export interface Documentation {
  /** The first sentence, without its period. */
  readonly summary: string;
  /** All but the examples; lines of a paragraph joined. */
  readonly description: string;
  /** What lines that start with "Example:" show, parsed as JSON where they are JSON. */
  readonly examples: readonly unknown[];
}

/** Reads the documentation out of a comment. */
export function parseComment(comment: string | undefined): Documentation {
  const lines = (comment ?? "").split("\n");
  const isExample = (line: string): boolean => line.trimStart().startsWith("Example:");
  const examples = lines.filter(isExample).map((line) => parseExample(line.slice(line.indexOf(":") + 1).trim()));
  const description = lines
    .filter((line) => !isExample(line))
    .join("\n")
    .split(/\n\s*\n/)
    .map((paragraph) => paragraph.replaceAll(/\s*\n\s*/g, " ").trim())
    .filter((paragraph) => paragraph !== "")
    .join("\n\n");
  const summary = sentences(description)[0] ?? "";
  return { summary: summary.replace(/[.:;]$/, ""), description, examples };
}

/** Splits text at the ends of its sentences. */
export function sentences(text: string): string[] {
  return text.split(/(?<=[.!?;])\s+(?=[A-Z"'(])|\n\n/).map((sentence) => sentence.trim());
}

function parseExample(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
