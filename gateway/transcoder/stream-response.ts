import type { ServerResponse } from "node:http";
import type { JsonValue } from "@bufbuild/protobuf";
import type { StatusJson } from "./http-status.js";

/** Media types of a stream, in the order in which they are offered. */
export const streamMediaTypes = ["text/event-stream", "application/x-ndjson"] as const;

/** One message of a stream. */
export interface StreamItem {
  readonly json: JsonValue;
  /** The event's id in SSE: what a client sends as Last-Event-ID when it comes back. */
  readonly id: string | undefined;
}

/** How a stream is sent. */
export interface StreamOptions {
  readonly mediaType: (typeof streamMediaTypes)[number];
  /** Time between two heartbeats of an idle SSE stream, in milliseconds. */
  readonly heartbeatMs: number;
  readonly toStatus: (error: unknown) => StatusJson;
}

/**
 * Sends messages as they come, waiting whenever the client reads more slowly. An error before anything was sent is
 * thrown; a later one ends the stream with an `error` event (NDJSON: a line {"error": status}). A whole SSE stream ends
 * with an `end` event, so that a client can tell it from a broken connection. Messages are consumed to the end even
 * when the client has gone: whether they still come is decided by who aborts the call.
 */
export async function sendStream(
  response: ServerResponse,
  items: AsyncIterable<StreamItem>,
  options: StreamOptions,
): Promise<void> {
  const isSse = options.mediaType === "text/event-stream";
  const start = (): void => {
    if (response.headersSent) return;
    response.setHeader("content-type", options.mediaType);
    response.setHeader("cache-control", "no-store");
    // Asks nginx and its kin not to collect the stream before passing it on.
    response.setHeader("x-accel-buffering", "no");
    response.writeHead(200);
    response.flushHeaders();
  };
  const heartbeat = setInterval(() => {
    if (!isSse || response.writableNeedDrain || response.destroyed) return;
    start();
    response.write(": heartbeat\n\n");
  }, options.heartbeatMs);
  try {
    for await (const item of items) {
      start();
      await writePaced(response, isSse ? toEvent(item) : `${JSON.stringify(item.json)}\n`);
    }
    start();
    response.end(isSse ? "event: end\ndata: {}\n\n" : undefined);
  } catch (error) {
    if (!response.headersSent) throw error;
    const status = JSON.stringify(options.toStatus(error));
    response.end(isSse ? `event: error\ndata: ${status}\n\n` : `{"error":${status}}\n`);
  } finally {
    clearInterval(heartbeat);
  }
}

function toEvent({ json, id }: StreamItem): string {
  const idLine = id === undefined || id === "" ? "" : `id: ${id.replaceAll(/[\r\n\0]/g, "")}\n`;
  return `${idLine}data: ${JSON.stringify(json)}\n\n`;
}

/** Writes to a response; resolves when more may be written, or when the client has gone. */
export async function writePaced(response: ServerResponse, text: string): Promise<void> {
  if (response.destroyed || response.write(text)) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
  });
}
