import type { DescMethod, DescMethodStreaming, DescMethodUnary, DescService, Message } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext, Transport } from "@connectrpc/connect";
import { createAsyncIterable } from "@connectrpc/connect/protocol";

/** Serves a service by passing every RPC on to where it lives: Connect and gRPC-Web in, gRPC out. */
export function proxyService(router: ConnectRouter, service: DescService, transport: Transport): void {
  for (const method of service.methods) router.rpc(method, forward(method, transport) as never);
}

function forward(method: DescMethod, transport: Transport) {
  const unary = (request: Message, context: HandlerContext) =>
    transport.unary(method as DescMethodUnary, context.signal, context.timeoutMs(), forwardedHeaders(context.requestHeader), request);
  const stream = async (requests: AsyncIterable<Message>, context: HandlerContext) => {
    const header = forwardedHeaders(context.requestHeader);
    const call = transport.stream(method as DescMethodStreaming, context.signal, context.timeoutMs(), header, requests);
    return (await call).message;
  };
  switch (method.methodKind) {
    case "unary":
      return async (request: Message, context: HandlerContext) => (await unary(request, context)).message;
    case "client_streaming":
      return async (requests: AsyncIterable<Message>, context: HandlerContext) => {
        for await (const message of await stream(requests, context)) return message;
        throw new Error(`${method.name} ended without a response`);
      };
    case "server_streaming":
      return async function* (request: Message, context: HandlerContext) {
        yield* await stream(createAsyncIterable([request]), context);
      };
    case "bidi_streaming":
      return async function* (requests: AsyncIterable<Message>, context: HandlerContext) {
        yield* await stream(requests, context);
      };
  }
}

/** Of a client's headers only these reach the services: identity is never the client's to say. */
const FORWARDED = ["x-request-id", "last-event-id", "idempotency-key"];

/** The headers of a client's request that go on to a service. */
export function forwardedHeaders(from: Headers): Headers {
  const headers = new Headers();
  for (const name of FORWARDED) {
    const value = from.get(name);
    if (value !== null) headers.set(name, value);
  }
  return headers;
}
