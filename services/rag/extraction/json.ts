import { assertNotEmpty, type Extracted, ExtractionError, normalizeText, type Section } from "./extracted.js";

/** Objects and lists inside each other. */
export const MAX_JSON_DEPTH = 200;
/** Values are held as objects, many times the size of their text, in characters. */
export const MAX_JSON_CHARACTERS = 32 * 1024 * 1024;
/** A value whose text is longer is cut into those inside it. */
const SECTION_CHARACTERS = 1_000;
/** Digits that a number of JavaScript holds exactly. */
const EXACT_DIGITS = 15;

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/**
 * JSON as lines of "name: value". Parts of about a chunk's size are sections under the keys that lead to them.
 * @throws ExtractionError MALFORMED, TOO_DEEP or TOO_LARGE
 */
export function extractJson(source: string): Extracted {
  const value = parseJson(normalizeText(source), "The document");
  const writer = new SectionWriter();
  writer.write(value, [], "");
  assertNotEmpty(writer.text);
  const title = isObject(value) && typeof value["title"] === "string" ? value["title"].trim().slice(0, 200) : "";
  return {
    text: writer.text,
    structure: "plain",
    sections: writer.sections,
    mimeType: "application/json",
    metadata: {},
    ...(title !== "" && { title }),
  };
}

/** One JSON value a line, as text: a paragraph each. */
export async function extractJsonLines(source: string, signal?: AbortSignal): Promise<Extracted> {
  const text = normalizeText(source);
  assertNotEmpty(text);
  let lines = "";
  for await (const piece of jsonLines(once(text))) {
    signal?.throwIfAborted();
    lines += piece;
  }
  assertNotEmpty(lines);
  return { text: lines, structure: "plain", mimeType: "application/x-ndjson", metadata: {} };
}

/** The values of JSON lines that come in pieces, as text. @throws ExtractionError naming the line. */
export async function* jsonLines(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = "";
  let number = 0;
  const paragraph = (line: string): string => {
    number += 1;
    if (line.trim() === "") return "";
    const writer = new SectionWriter();
    writer.write(parseJson(line, `Line ${number}`), [], "");
    return writer.text === "" ? "" : `${writer.text.trimEnd()}\n\n`;
  };
  for await (const piece of pieces) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop()!;
    if (rest.length > MAX_JSON_CHARACTERS) throw tooLarge(`Line ${number + lines.length + 1}`, rest.length);
    for (const line of lines) yield paragraph(line);
  }
  yield paragraph(rest);
}

function parseJson(text: string, what: string): Json {
  if (text.length > MAX_JSON_CHARACTERS) throw tooLarge(what, text.length);
  let depth = 0;
  // A number longer than JavaScript's own keeps its digits as a string: it is only shown.
  const exact = text.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|[[{]|[\]}]/g, (token) => {
    const first = token[0]!;
    if (first === "{" || first === "[") {
      depth += 1;
      if (depth > MAX_JSON_DEPTH) {
        throw new ExtractionError("TOO_DEEP", `${what} nests more than ${MAX_JSON_DEPTH} objects and lists; flatten it.`);
      }
    } else if (first === "}" || first === "]") {
      depth -= 1;
    } else if (first !== '"' && token.length > EXACT_DIGITS && /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(token)) {
      return `"${token}"`;
    }
    return token;
  });
  try {
    return JSON.parse(exact.startsWith("\ufeff") ? exact.slice(1) : exact) as Json;
  } catch (cause) {
    throw new ExtractionError("MALFORMED", `${what} is not valid JSON${placeOf(cause, exact)}; correct it, or give its true type.`, { cause });
  }
}

function placeOf(error: unknown, text: string): string {
  const position = /position (\d+)/.exec(String(error))?.[1];
  return position === undefined ? "" : ` (line ${text.slice(0, Number(position)).split("\n").length})`;
}

function tooLarge(what: string, characters: number): ExtractionError {
  return new ExtractionError("TOO_LARGE", `${what} has ${characters} characters, more than the limit of ${MAX_JSON_CHARACTERS} for JSON; split it.`);
}

class SectionWriter {
  text = "";
  readonly sections: Section[] = [];

  /** Writes the value at a path, in one section if it is small, else in those of its parts. */
  write(value: Json, path: readonly string[], name: string): void {
    const rendered = render(value, name, "");
    if (rendered === "") return;
    if (rendered.length > SECTION_CHARACTERS && isContainer(value)) {
      for (const [key, part] of Object.entries(value)) this.write(part, [...path, key.slice(0, 200)], Array.isArray(value) ? name : key);
      return;
    }
    if (path.length > 0) this.sections.push({ start: this.text.length, path });
    this.text += `${rendered}\n`;
  }
}

/** Lines of "name: value"; what is inside something else stands further in. */
function render(value: Json, name: string, indent: string): string {
  if (!isContainer(value)) {
    const text = value === null ? "" : String(value).trim();
    return text === "" ? "" : `${indent}${name === "" ? "" : `${name}: `}${text}\n`;
  }
  const inner = name === "" ? indent : `${indent}  `;
  const list = Array.isArray(value);
  const parts = Object.entries(value).map(([key, part]) => (list && !isContainer(part) ? render(part, "-", inner).replace("-: ", "- ") : render(part, list ? "" : key, inner)));
  const text = parts.join("");
  return name === "" || text === "" ? text : `${indent}${name}:\n${text}`;
}

function isContainer(value: Json): value is Json[] | { [key: string]: Json } {
  return typeof value === "object" && value !== null;
}

function isObject(value: Json): value is { [key: string]: Json } {
  return isContainer(value) && !Array.isArray(value);
}

async function* once(text: string): AsyncGenerator<string> {
  yield text;
}
