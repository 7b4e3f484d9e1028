import { assertNotEmpty, type Extracted, normalizeText } from "./extracted.js";

/** A plain text is its own text. */
export function extractPlainText(source: string): Extracted {
  const text = normalizeText(source);
  assertNotEmpty(text);
  return { text, structure: "plain", mimeType: "text/plain", metadata: {} };
}
