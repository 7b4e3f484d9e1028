import * as http from "node:http";
import * as https from "node:https";
import { isIP } from "node:net";
import { ErrorReason } from "../../../gen/ragents/errors/v1/errors_pb.js";
import { DocumentError } from "../ingestion/document-failure.js";
import { hostOf } from "./fetch-rules.js";

export interface HttpAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** Empty unless the status is 200. */
  readonly content: Uint8Array;
}

export interface HttpRequestOptions {
  readonly headers: Readonly<Record<string, string>>;
  /** A larger answer is refused. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/** Asks one address for a URL; its host's name is for the server and its certificate, nobody resolves it again. */
export async function request(url: URL, address: string, { headers, maxBytes, signal }: HttpRequestOptions): Promise<HttpAnswer> {
  const name = hostOf(url);
  const send = url.protocol === "https:" ? https.request : http.request;
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    const outgoing = send({
      host: address,
      port: url.port,
      path: url.pathname + url.search,
      // A connection of its own: one that was kept open could be another host's, and proxies would resolve names for themselves.
      agent: false,
      signal,
      headers: { host: url.host, "user-agent": "ragents-mesh", accept: "*/*", "accept-encoding": "identity", ...headers },
      ...(isIP(name) === 0 && { servername: name }),
    });
    outgoing.once("response", resolve);
    outgoing.on("error", reject);
    outgoing.end();
  });
  try {
    const status = response.statusCode ?? 0;
    return { status, headers: response.headers, content: status === 200 ? await contentOf(response, maxBytes) : new Uint8Array() };
  } finally {
    response.destroy();
  }
}

async function contentOf(response: http.IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  const encoding = response.headers["content-encoding"] ?? "identity";
  if (encoding !== "identity") {
    throw new DocumentError(ErrorReason.FETCH_FAILED, `The server sent the page as ${encoding}, though asked to send it as it is; download it and upload it.`);
  }
  if (Number(response.headers["content-length"] ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > maxBytes) throw tooLarge(maxBytes);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function tooLarge(maxBytes: number): DocumentError {
  return new DocumentError(
    ErrorReason.DOCUMENT_TOO_LARGE,
    `The page has more than ${maxBytes / 1_000_000} MB, the limit (RAGENTS_INGEST_URL_MB); download it and upload it.`,
  );
}
