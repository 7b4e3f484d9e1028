import type { IncomingMessage } from "node:http";
import type { JsonValue } from "@bufbuild/protobuf";
import { bodyTimeout, bodyTooLarge, malformed, unsupportedMediaType } from "./http-error.js";
import { contentType, isJson } from "./negotiation.js";

/** Whether the request announces a body, even an empty chunked one. */
export function hasBody(request: IncomingMessage): boolean {
  return request.headers["transfer-encoding"] !== undefined || Number(request.headers["content-length"] ?? 0) > 0;
}

/** Throws 415 for a compressed body: no route reads one. */
export function refuseEncoding(request: IncomingMessage): void {
  const encoding = request.headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity")
    throw unsupportedMediaType("application/json without a Content-Encoding");
}

/** Time in which a whole JSON body must arrive: who sends byte by byte must not hold a request for ever. */
export const BODY_TIMEOUT_MS = 30_000;

/** Reads a body of at most `maxBytes` bytes. Throws 413 beyond it, at once when Content-Length says so, and 408 after `timeoutMs`. */
export function readBody(request: IncomingMessage, maxBytes: number, timeoutMs = BODY_TIMEOUT_MS): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(bodyTimeout(timeoutMs / 1000)), timeoutMs).unref();
    request.once("close", () => clearTimeout(timer));
    if (Number(request.headers["content-length"] ?? 0) > maxBytes) throw bodyTooLarge(maxBytes);
    const chunks: Buffer[] = [];
    let size = 0;
    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= maxBytes) chunks.push(chunk);
      else reject(bodyTooLarge(maxBytes));
    });
    request.on("end", () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks, size));
    });
    request.on("error", reject);
  });
}

/** Reads a JSON body; undefined when it is empty. Throws 413, 415, or 400 for what is not JSON in UTF-8. */
export async function readJsonBody(request: IncomingMessage, maxBytes: number): Promise<JsonValue | undefined> {
  if (!hasBody(request)) return undefined;
  refuseEncoding(request);
  // A body without a type is refused too: browsers send such bodies across origins without asking first.
  if (!isJson(contentType(request) ?? "")) throw unsupportedMediaType("application/json");
  const charset = /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(request.headers["content-type"] ?? "")?.[1];
  if (charset !== undefined && !/^utf-?8$/i.test(charset)) throw unsupportedMediaType("application/json in UTF-8");
  return parseJson(await readBody(request, maxBytes));
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Parses JSON; undefined when there is nothing but white space. Throws 400 for what is not JSON in UTF-8. */
export function parseJson(bytes: Uint8Array): JsonValue | undefined {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw malformed("MALFORMED_JSON", "The body is not valid UTF-8.");
  }
  if (text.trim() === "") return undefined;
  try {
    return JSON.parse(text) as JsonValue;
  } catch (error) {
    throw malformed("MALFORMED_JSON", `The body is not valid JSON${whereBroken(String(error))}.`);
  }
}

/** V8 names the position, the token or the early end, and then quotes the body: only the first is passed on. */
function whereBroken(v8Message: string): string {
  if (v8Message.includes("Unexpected end")) return ": it ends too early";
  const position = /at position (\d+)/.exec(v8Message)?.[1];
  if (position !== undefined) return ` at character ${position}`;
  const token = /Unexpected token '?(.)'?,/u.exec(v8Message)?.[1];
  return token === undefined ? "" : `: unexpected ${JSON.stringify(token)}`;
}
