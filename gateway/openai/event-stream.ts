import type { ServerResponse } from "node:http";
import { writePaced } from "../transcoder/stream-response.js";

/** Server-sent events of one answer, sent at the pace at which the client reads. */
export interface EventStream {
  /** Sends an event; named ones as the responses API does it. Resolves when the next may be sent. */
  send(data: object | "[DONE]", name?: string): Promise<void>;
  /** No more events. */
  end(): void;
}

/** Starts the answer's body with the first event; comments keep it alive while nothing happens. */
export function openEventStream(response: ServerResponse, heartbeatMs: number): EventStream {
  const start = () => {
    if (response.headersSent) return;
    response.setHeader("content-type", "text/event-stream; charset=utf-8");
    response.setHeader("cache-control", "no-store");
    response.setHeader("x-accel-buffering", "no");
    response.writeHead(200);
  };
  const heartbeat = setInterval(() => {
    if (response.writableNeedDrain || response.destroyed) return;
    start();
    response.write(": heartbeat\n\n");
  }, heartbeatMs);
  response.once("close", () => clearInterval(heartbeat));
  return {
    async send(data, name) {
      start();
      const event = name === undefined ? "" : `event: ${name}\n`;
      await writePaced(response, `${event}data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`);
    },
    end() {
      clearInterval(heartbeat);
      start();
      response.end();
    },
  };
}
