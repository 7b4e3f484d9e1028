import type { IncomingMessage } from "node:http";
import { Busboy, type BusboyFileStream, type BusboyHeaders } from "@fastify/busboy";
import { Code, ConnectError } from "@connectrpc/connect";
import { HttpError, malformed } from "./http-error.js";

/** One part of a form, in the order in which the parts come. */
export type FormPart =
  | { readonly kind: "field"; readonly name: string; readonly value: string }
  | {
      readonly kind: "file";
      readonly name: string;
      /** The client's file name with its path; "" when it gave none. */
      readonly fileName: string;
      readonly mediaType: string;
      /** The bytes; they must be consumed before the next part comes. */
      readonly bytes: AsyncIterable<Buffer>;
    };

/** What a form may hold. */
export interface FormLimits {
  readonly maxFiles: number;
  readonly maxFields: number;
  readonly maxFieldBytes: number;
}

/**
 * Reads multipart/form-data part by part, with no more in memory than a few chunks. Throws 400 for what is not such a
 * form or ends too early, 413 for more parts or longer fields than allowed, CANCELLED when the client goes away.
 */
export async function* readFormParts(request: IncomingMessage, limits: FormLimits): AsyncGenerator<FormPart> {
  const parser = openParser(request, limits);
  const parts: FormPart[] = [];
  let file: BusboyFileStream | undefined;
  let outcome: { failure?: unknown } | undefined;
  let wake = (): void => {};
  const settle = (result: { failure?: unknown }): void => {
    outcome ??= result;
    if (result.failure !== undefined) file?.destroy(result.failure as Error);
    wake();
  };
  const tooMany = (what: string, most: number) => (): void =>
    settle({
      failure: new HttpError(413, Code.InvalidArgument, "BODY_TOO_LARGE", `The form has more than ${most} ${what}.`),
    });

  async function* readBytes(bytes: BusboyFileStream): AsyncGenerator<Buffer> {
    try {
      yield* bytes as AsyncIterable<Buffer>;
    } catch {
      throw outcome?.failure ?? incomplete();
    }
  }

  parser.on("field", (name, value, _nameTruncated, valueTruncated) => {
    parts.push({ kind: "field", name: name ?? "", value });
    if (valueTruncated) tooMany(`bytes in the field "${name}"`, limits.maxFieldBytes)();
    wake();
  });
  parser.on("file", (name, bytes, fileName, _encoding, mediaType) => {
    file = bytes;
    // The failure reaches whoever reads the bytes; without a listener it would end the process when nobody does.
    bytes.on("error", () => {});
    parts.push({ kind: "file", name: name ?? "", fileName: fileName ?? "", mediaType, bytes: readBytes(bytes) });
    wake();
  });
  parser.on("filesLimit", tooMany("files", limits.maxFiles));
  parser.on("fieldsLimit", tooMany("fields", limits.maxFields));
  parser.on("error", () => settle({ failure: incomplete() }));
  parser.on("finish", () => settle({}));
  request.on("error", () => settle({ failure: new ConnectError("the client has gone", Code.Canceled) }));
  request.pipe(parser);

  try {
    for (;;) {
      if (outcome?.failure !== undefined) throw outcome.failure;
      const part = parts.shift();
      if (part !== undefined) yield part;
      else if (outcome !== undefined) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    request.unpipe(parser);
  }
}

function incomplete(): HttpError {
  return malformed("MALFORMED_BODY", "The body is not complete multipart/form-data.");
}

function openParser(request: IncomingMessage, limits: FormLimits): InstanceType<typeof Busboy> {
  try {
    return new Busboy({
      headers: request.headers as BusboyHeaders,
      preservePath: true,
      limits: {
        files: limits.maxFiles,
        fields: limits.maxFields,
        fieldSize: limits.maxFieldBytes,
        headerPairs: 32,
        headerSize: 16_384,
      },
    });
  } catch {
    throw malformed("MALFORMED_BODY", "The Content-Type of the form lacks its boundary.");
  }
}
