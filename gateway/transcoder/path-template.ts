/** What one segment of a template matches: `*` one segment, `**` the rest of the path, else a literal. */
export type TemplateSegment = { kind: "literal"; text: string } | { kind: "single" } | { kind: "rest" };

/** A `{field}` of a template and the run of segments that it captures. */
export interface TemplateVariable {
  /** Field path in the request message, as written: `a.b`. */
  readonly fieldPath: string;
  /** Index of the first captured segment. */
  readonly start: number;
  /** Index after the last captured segment; ignored when the run ends in `**`. */
  readonly end: number;
  /** True for templates of several segments: they keep `%2F` encoded. */
  readonly multi: boolean;
}

/** A parsed path template of google.api.http. */
export interface PathTemplate {
  readonly text: string;
  readonly segments: readonly TemplateSegment[];
  readonly variables: readonly TemplateVariable[];
  /** The custom verb after the last `:`; empty when there is none. */
  readonly verb: string;
}

const identPattern = /^[A-Za-z_][A-Za-z0-9_]*$/;
const literalPattern = /^(?:[A-Za-z0-9\-._~!$&'()+,;=@]|%[0-9A-Fa-f]{2})+$/;

/**
 * Parses a path template by the grammar in google/api/http.proto:
 * `Template = "/" Segments [ Verb ]`, with `**` only as the last segment.
 * Throws an Error that names the template and what is wrong with it.
 */
export function parsePathTemplate(text: string): PathTemplate {
  const fail = (problem: string): never => {
    throw new Error(`Path template "${text}": ${problem}.`);
  };
  if (!text.startsWith("/")) fail('must start with "/"');
  const { body, verb } = splitVerb(text.slice(1));
  if (verb !== undefined && !literalPattern.test(verb)) fail(`":${verb}" is not a verb`);

  const segments: TemplateSegment[] = [];
  const variables: TemplateVariable[] = [];
  const addSegment = (part: string): void => {
    if (segments.at(-1)?.kind === "rest") fail('"**" must be the last segment');
    if (part === "*") segments.push({ kind: "single" });
    else if (part === "**") segments.push({ kind: "rest" });
    else if (literalPattern.test(part)) segments.push({ kind: "literal", text: decodeLiteral(part, fail) });
    else fail(part === "" ? "has an empty segment" : `"${part}" is not a segment`);
  };
  const addVariable = (inside: string): void => {
    const equals = inside.indexOf("=");
    const fieldPath = equals < 0 ? inside : inside.slice(0, equals);
    if (!fieldPath.split(".").every((name) => identPattern.test(name))) fail(`"${fieldPath}" is not a field path`);
    if (variables.some((other) => other.fieldPath === fieldPath)) fail(`binds "${fieldPath}" twice`);
    const parts = equals < 0 ? ["*"] : inside.slice(equals + 1).split("/");
    const start = segments.length;
    parts.forEach(addSegment);
    variables.push({ fieldPath, start, end: segments.length, multi: parts.length > 1 || parts[0] === "**" });
  };

  for (const part of body === "" ? [] : splitSegments(body, fail)) {
    if (part.startsWith("{") && part.endsWith("}")) addVariable(part.slice(1, -1));
    else addSegment(part);
  }
  return { text, segments, variables, verb: verb === undefined ? "" : decodeLiteral(verb, fail) };
}

/** The verb follows the last ":" outside of braces and behind the last "/". */
function splitVerb(text: string): { body: string; verb: string | undefined } {
  const colon = text.lastIndexOf(":");
  if (colon < 0 || colon < text.lastIndexOf("/") || colon < text.lastIndexOf("}"))
    return { body: text, verb: undefined };
  return { body: text.slice(0, colon), verb: text.slice(colon + 1) };
}

/** Splits at each "/" outside of braces. */
function splitSegments(body: string, fail: (problem: string) => never): string[] {
  const parts: string[] = [];
  let part = "";
  let inVariable = false;
  for (const char of body) {
    if (char === "{") {
      if (inVariable) fail("has a variable inside a variable");
      inVariable = true;
    } else if (char === "}") {
      if (!inVariable) fail('has a "}" without its "{"');
      inVariable = false;
    }
    if (char === "/" && !inVariable) {
      parts.push(part);
      part = "";
    } else {
      part += char;
    }
  }
  if (inVariable) fail('has a "{" without its "}"');
  return [...parts, part];
}

function decodeLiteral(text: string, fail: (problem: string) => never): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return fail(`"${text}" is not percent-encoded UTF-8`);
  }
}
