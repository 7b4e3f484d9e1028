import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type Identity, REQUEST_ID_HEADER } from "../runtime/call-context.js";
import { beginsTrace } from "../runtime/tracing/begins-trace.js";
import { TRACE_HEADER, traceHeader } from "../runtime/tracing/trace-header.js";
import type { OpenSpan, Tracer } from "../runtime/tracing/tracer.js";

/** Begins the traces of clients' requests. */
export interface RequestTraces {
  /** A request has come. What a client sent for a trace is not taken over. */
  observe(request: IncomingMessage, response: ServerResponse): void;
  /** The header by which the service that `method` is of joins the request's trace; undefined when it is not traced. */
  begin(headerOf: (name: string) => string | null | undefined, identity: Identity, method: DescMethod): string | undefined;
}

/** Requests are traced whose RPCs begin a trace. */
export function requestTraces(tracer: Tracer | undefined): RequestTraces {
  /** By a word of our own in the request's header: Connect's handlers see the headers, not the request. */
  const requests = new Map<string, { span?: OpenSpan }>();
  return {
    observe(request, response) {
      delete request.headers[TRACE_HEADER];
      if (tracer === undefined) return;
      const key = randomUUID();
      const entry: { span?: OpenSpan } = {};
      request.headers[TRACE_HEADER] = key;
      requests.set(key, entry);
      response.once("close", () => {
        requests.delete(key);
        const { span } = entry;
        span?.set({ metadata: { status: response.statusCode } });
        span?.end(response.writableFinished ? undefined : new ConnectError("the client went away", Code.Canceled));
      });
    },
    begin(headerOf, identity, method) {
      const entry = requests.get(headerOf(TRACE_HEADER) ?? "");
      if (tracer === undefined || entry === undefined || !beginsTrace(method)) return undefined;
      entry.span = tracer.start("gateway", { tenant: identity.tenant, requestId: headerOf(REQUEST_ID_HEADER) ?? "" });
      entry.span.set({ metadata: { rpc: `${method.parent.typeName}/${method.name}` } });
      return traceHeader(entry.span);
    },
  };
}
