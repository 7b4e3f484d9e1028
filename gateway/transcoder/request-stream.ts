import type { IncomingMessage } from "node:http";
import { type Message } from "@bufbuild/protobuf";
import { bodyTooLarge, unsupportedMediaType } from "./http-error.js";
import { type MultipartContext, type MultipartMapping, multipartMessages } from "./multipart.js";
import { contentType } from "./negotiation.js";
import { bindRequest } from "./request-binding.js";
import { parseJson, refuseEncoding } from "./request-body.js";

/** The messages of a streamed request. */
export interface RequestStream {
  readonly messages: AsyncIterable<Message>;
  /** Why reading the request failed, once it has: the call's own error only tells that it was cancelled. */
  failure(): unknown;
}

/** How the body of a client-streaming RPC is read. */
export interface RequestStreamOptions extends MultipartContext {
  /** Undefined where forms are not taken. */
  readonly multipart: MultipartMapping | undefined;
  readonly maxLineBytes: number;
  /** Called before a failure ends the messages, so that the RPC never takes them for complete. */
  readonly abort: (reason: unknown) => void;
}

/**
 * Reads the body of a client-streaming RPC: multipart/form-data where it is mapped, or NDJSON with one message a line,
 * the first of which also gets the path's fields. The first message is read before this resolves, so that a bad start
 * is answered without a call. Throws 415 for other bodies, and as the readers of the two forms do.
 */
export async function readRequestStream(
  request: IncomingMessage,
  options: RequestStreamOptions,
): Promise<RequestStream> {
  refuseEncoding(request);
  const messages = openMessages(request, options);
  const first = await messages.next();
  let failure: unknown;
  async function* rest(): AsyncGenerator<Message> {
    try {
      if (first.done !== true) yield first.value;
      yield* messages;
    } catch (error) {
      failure = error;
      options.abort(error);
      throw error;
    }
  }
  return { messages: rest(), failure: () => failure };
}

function openMessages(request: IncomingMessage, options: RequestStreamOptions): AsyncGenerator<Message> {
  const type = contentType(request);
  if (type === "application/x-ndjson") return ndjsonMessages(request, options);
  if (options.multipart === undefined) throw unsupportedMediaType("application/x-ndjson");
  if (type === "multipart/form-data") return multipartMessages(request, options.multipart, options);
  throw unsupportedMediaType("multipart/form-data or application/x-ndjson");
}

async function* ndjsonMessages(request: IncomingMessage, options: RequestStreamOptions): AsyncGenerator<Message> {
  const { desc, codec } = options;
  let isFirst = true;
  for await (const line of readLines(request, options.maxLineBytes)) {
    const body = parseJson(line);
    if (body === undefined) continue;
    const pathVariables = isFirst ? options.pathVariables : [];
    yield bindRequest(desc, options.binding, { pathVariables, query: [], body }, codec);
    isFirst = false;
  }
  if (isFirst && options.pathVariables.length > 0) {
    yield bindRequest(
      desc,
      options.binding,
      { pathVariables: options.pathVariables, query: [], body: undefined },
      codec,
    );
  }
}

async function* readLines(request: IncomingMessage, maxLineBytes: number): AsyncGenerator<Uint8Array> {
  let rest: Buffer[] = [];
  let size = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      yield Buffer.concat([...rest, chunk.subarray(start, end)]);
      rest = [];
      size = 0;
      start = end + 1;
    }
    rest.push(chunk.subarray(start));
    size += chunk.length - start;
    if (size > maxLineBytes) throw bodyTooLarge(maxLineBytes, "A line of the body");
  }
  yield Buffer.concat(rest);
}
