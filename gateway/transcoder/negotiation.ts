import type { IncomingMessage } from "node:http";

/**
 * Picks the offered media type that an Accept header likes best; the first offered one among equals and without a
 * header. Undefined when none is acceptable.
 */
export function negotiateMediaType(accept: string | undefined, offered: readonly string[]): string | undefined {
  if (accept === undefined || accept.trim() === "") return offered[0];
  const ranges = parseWeighted(accept);
  let best: { type: string; weight: number } | undefined;
  for (const type of offered) {
    const weight = weightOf(type, ranges);
    if (weight > (best?.weight ?? 0)) best = { type, weight };
  }
  return best?.type;
}

/** Whether an Accept-Encoding header allows gzip. */
export function acceptsGzip(acceptEncoding: string | undefined): boolean {
  if (acceptEncoding === undefined) return false;
  const codings = parseWeighted(acceptEncoding);
  const gzip =
    codings.find(({ value }) => value === "gzip" || value === "x-gzip") ?? codings.find(({ value }) => value === "*");
  return gzip !== undefined && gzip.weight > 0;
}

/** The media type of the request's body in lower case, without parameters; undefined without a Content-Type. */
export function contentType(request: IncomingMessage): string | undefined {
  return request.headers["content-type"]?.split(";", 1)[0]?.trim().toLowerCase();
}

/** Whether a media type is JSON: application/json or any type with the suffix +json. */
export function isJson(mediaType: string): boolean {
  return mediaType === "application/json" || /^[^/]+\/[^/]+\+json$/.test(mediaType);
}

interface Weighted {
  readonly value: string;
  /** 0 means "not acceptable". */
  readonly weight: number;
}

function parseWeighted(header: string): Weighted[] {
  return header.split(",").map((part) => {
    const [value = "", ...parameters] = part.split(";").map((piece) => piece.trim().toLowerCase());
    const q = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2);
    const weight = q === undefined ? 1 : Number(q);
    return { value, weight: Number.isFinite(weight) ? weight : 0 };
  });
}

/** The most specific range decides, whatever its place in the header. */
function weightOf(type: string, ranges: readonly Weighted[]): number {
  const [group] = type.split("/");
  for (const candidate of [type, `${group}/*`, "*/*"]) {
    const range = ranges.find(({ value }) => value === candidate);
    if (range !== undefined) return range.weight;
  }
  return 0;
}
