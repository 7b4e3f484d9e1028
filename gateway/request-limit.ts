import type { IncomingMessage, ServerResponse } from "node:http";
import { Code } from "@connectrpc/connect";
import { ErrorReason } from "../gen/ragents/errors/v1/errors_pb.js";
import { ERROR_DOMAIN, reasonName } from "../runtime/errors.js";

/** When a refused client may come back, in seconds. */
const RETRY_AFTER_S = 1;

/** Refuses requests beyond the number that may be under way at once: an answer in time for some beats a late one for all. */
export interface RequestLimit {
  /** Whether the request may go on; when not, it was answered with 503. */
  admit(request: IncomingMessage, response: ServerResponse): boolean;
}

/** @param maxRequests requests under way at once, open streams included. */
export function requestLimit(maxRequests: number): RequestLimit {
  let underWay = 0;
  return {
    admit(request, response) {
      if (underWay >= maxRequests) {
        refuse(request, response);
        return false;
      }
      underWay += 1;
      response.once("close", () => (underWay -= 1));
      return true;
    },
  };
}

function refuse(request: IncomingMessage, response: ServerResponse): void {
  const message = "The gateway has as many requests under way as it may; retry after the given delay.";
  const details = [
    { "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason: reasonName(ErrorReason.OVERLOADED), domain: ERROR_DOMAIN, metadata: {} },
    { "@type": "type.googleapis.com/google.rpc.RetryInfo", retry_delay: `${RETRY_AFTER_S}s` },
  ];
  // Nobody reads its body.
  if (!request.complete) response.setHeader("connection", "close");
  response
    .writeHead(503, { "content-type": "application/json", "retry-after": String(RETRY_AFTER_S) })
    .end(JSON.stringify({ code: Code.Unavailable, message, details }));
}
