import type { IncomingMessage } from "node:http";
import { create, type DescField, type DescMessage, type Message } from "@bufbuild/protobuf";
import { fitsInText, resolveFieldPath } from "./field-path.js";
import { type FormPart, readFormParts } from "./form-parts.js";
import { bodyTooLarge } from "./http-error.js";
import type { JsonCodec } from "./json-codec.js";
import { findField, setFieldValue } from "./message-fields.js";
import { bindParameters } from "./query-params.js";
import { bindPath, type RequestBinding, type RequestParts } from "./request-binding.js";
import { parseJson } from "./request-body.js";
import { Violations } from "./violations.js";

/**
 * How a multipart/form-data upload becomes the messages of a client-streaming RPC: one message with the header, made of
 * the form's fields and the path; then for each file one message that starts it and messages with its bytes. The fields
 * named here are fields of the request message, usually members of one oneof.
 */
export interface MultipartMapping {
  /** Message field that the form's fields fill, each by its name. */
  readonly header: string;
  /** Message field that starts a file, and its fields that take the part's file name and media type. */
  readonly file?: { readonly field: string; readonly fileName?: string; readonly mediaType?: string };
  /** Bytes field that carries a piece of the file started last. */
  readonly data: string;
  /**
   * Message field that is sent last, once the form has come in whole. Worth having: when a client cancels a stream, HTTP/2
   * may end it first and reset it later, so that the end of the messages alone does not prove that nothing is missing.
   */
  readonly end?: string;
  /** The largest piece, in bytes. Default 256 KiB. */
  readonly chunkBytes?: number;
  /** The largest file, in bytes. Default 100 MiB. */
  readonly maxFileBytes?: number;
  /** The most files of one upload. Default 1000. */
  readonly maxFiles?: number;
}

/** What a form is turned into messages with. */
export interface MultipartContext {
  readonly desc: DescMessage;
  readonly binding: RequestBinding;
  readonly pathVariables: RequestParts["pathVariables"];
  readonly codec: JsonCodec;
}

const maxFields = 100;
const maxFieldBytes = 64 * 1024;

/** Throws an Error naming the field when a mapping does not fit its request message. */
export function checkMultipartMapping(desc: DescMessage, mapping: MultipartMapping): void {
  const header = messageField(desc, mapping.header);
  const file = mapping.file && messageField(desc, mapping.file.field);
  for (const name of [mapping.file?.fileName, mapping.file?.mediaType]) {
    if (name !== undefined) fieldOf(file!.message, name);
  }
  if (mapping.end !== undefined) messageField(desc, mapping.end);
  const data = fieldOf(desc, mapping.data);
  if (header === file || data.fieldKind !== "scalar")
    throw new Error(`Multipart mapping of ${desc.typeName} is wrong.`);
}

/** Reads a form as the messages of the RPC. Throws like `readFormParts`, and 400 for fields that do not fit. */
export async function* multipartMessages(
  request: IncomingMessage,
  mapping: MultipartMapping,
  context: MultipartContext,
): AsyncGenerator<Message> {
  const fields: [name: string, value: string][] = [];
  let headerSent = false;
  const parts = readFormParts(request, { maxFiles: mapping.maxFiles ?? 1000, maxFields, maxFieldBytes });
  for await (const part of parts) {
    if (part.kind === "field") {
      if (headerSent) refuse(part.name, "comes after a file; send all fields before the files");
      fields.push([part.name, part.value]);
      continue;
    }
    if (!headerSent) yield headerMessage(fields, mapping, context);
    headerSent = true;
    yield* fileMessages(part, mapping, context.desc);
  }
  if (!headerSent) yield headerMessage(fields, mapping, context);
  if (mapping.end !== undefined) yield endMessage(mapping.end, context.desc);
}

function headerMessage(fields: [string, string][], mapping: MultipartMapping, context: MultipartContext): Message {
  const { desc, binding, codec } = context;
  const violations = new Violations();
  const field = messageField(desc, mapping.header);
  const header = create(field.message);
  const isJson = ([name]: [string, string]): boolean => {
    const leaf = resolveFieldPath(field.message, name)?.leaf;
    return leaf !== undefined && !fitsInText(leaf);
  };
  bindParameters(
    field.message,
    header,
    fields.filter((entry) => !isJson(entry)),
    { pathFields: [], bodyField: "" },
    violations,
  );
  for (const [name, text] of fields.filter(isJson)) {
    const top = findField(field.message, name);
    if (top === undefined) violations.add(name, "must be given inside of the JSON of its parent");
    else setJsonField(header, top, text, codec, violations);
  }
  const message = create(desc);
  setFieldValue(message, field, header);
  bindPath(message, binding, context.pathVariables, violations);
  violations.throwIfAny();
  return message;
}

/** A field that no plain text can give, such as a Struct, is given as JSON. */
function setJsonField(header: Message, field: DescField, text: string, codec: JsonCodec, violations: Violations): void {
  let json: ReturnType<typeof parseJson>;
  try {
    json = parseJson(Buffer.from(text));
  } catch {
    return violations.add(field.name, "must be JSON");
  }
  const value = json === undefined ? undefined : codec.fieldFromJson(field, json, violations, field.name);
  if (value !== undefined) setFieldValue(header, field, value);
}

async function* fileMessages(
  part: FormPart & { kind: "file" },
  mapping: MultipartMapping,
  desc: DescMessage,
): AsyncGenerator<Message> {
  if (part.fileName === "") refuse(part.name, "is a file without a name");
  if (mapping.file !== undefined) yield startMessage(part, mapping.file, desc);
  const chunkBytes = mapping.chunkBytes ?? 256 * 1024;
  const maxFileBytes = mapping.maxFileBytes ?? 100 * 1024 * 1024;
  let size = 0;
  for await (const chunk of part.bytes) {
    size += chunk.length;
    if (size > maxFileBytes) throw bodyTooLarge(maxFileBytes, `The file "${part.fileName}"`);
    for (let start = 0; start < chunk.length; start += chunkBytes) {
      const message = create(desc);
      setFieldValue(message, fieldOf(desc, mapping.data), new Uint8Array(chunk.subarray(start, start + chunkBytes)));
      yield message;
    }
  }
}

function startMessage(
  part: FormPart & { kind: "file" },
  file: NonNullable<MultipartMapping["file"]>,
  desc: DescMessage,
): Message {
  const field = messageField(desc, file.field);
  const start = create(field.message);
  if (file.fileName !== undefined) setFieldValue(start, fieldOf(field.message, file.fileName), part.fileName);
  // This type is what clients send when they know nothing: the service finds out better.
  const isKnown = part.mediaType !== "application/octet-stream";
  if (file.mediaType !== undefined && isKnown)
    setFieldValue(start, fieldOf(field.message, file.mediaType), part.mediaType);
  const message = create(desc);
  setFieldValue(message, field, start);
  return message;
}

function endMessage(end: string, desc: DescMessage): Message {
  const field = messageField(desc, end);
  const message = create(desc);
  setFieldValue(message, field, create(field.message));
  return message;
}

function refuse(field: string, description: string): void {
  const violations = new Violations();
  violations.add(field, description);
  violations.throwIfAny();
}

function fieldOf(desc: DescMessage, name: string): DescField {
  const field = findField(desc, name);
  if (field === undefined) throw new Error(`Multipart mapping: ${desc.typeName} has no field "${name}".`);
  return field;
}

function messageField(desc: DescMessage, name: string): DescField & { fieldKind: "message" } {
  const field = fieldOf(desc, name);
  if (field.fieldKind !== "message") throw new Error(`Multipart mapping: ${desc.typeName}.${name} is not a message.`);
  return field;
}
