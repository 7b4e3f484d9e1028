import type { DescMethod, DescMethodStreaming, DescMethodUnary, DescService, Message } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext, Transport } from "@connectrpc/connect";
import { createAsyncIterable } from "@connectrpc/connect/protocol";
import type { UpstreamHeaders } from "./upstream-headers.js";

/** Serves a service by passing every RPC on to where it lives: Connect and gRPC-Web in, gRPC out. */
export function proxyService(router: ConnectRouter, service: DescService, transport: Transport, upstream: UpstreamHeaders): void {
  for (const method of service.methods) router.rpc(method, forward(method, transport, upstream) as never);
}

function forward(method: DescMethod, transport: Transport, upstream: UpstreamHeaders) {
  const headersOf = ({ requestHeader }: HandlerContext) => upstream((name) => requestHeader.get(name), method);
  const unary = async (request: Message, context: HandlerContext) =>
    transport.unary(method as DescMethodUnary, context.signal, context.timeoutMs(), await headersOf(context), request);
  const stream = async (requests: AsyncIterable<Message>, context: HandlerContext) => {
    const header = await headersOf(context);
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
