import { Metadata, type MetadataValue } from "@grpc/grpc-js";

/** HTTP-style headers as gRPC metadata. Keys ending in "-bin" hold base64 in headers and bytes in metadata. */
export function headersToMetadata(headers: Headers, into = new Metadata()): Metadata {
  headers.forEach((value, key) => {
    into.set(key, key.endsWith("-bin") ? Buffer.from(value, "base64") : value);
  });
  return into;
}

/** gRPC metadata as headers; repeated values are joined by ", ". */
export function metadataToHeaders(metadata: Metadata): Headers {
  const headers = new Headers();
  // All values at once: the other ways of reading metadata copy it for each key.
  const all = metadata.toJSON();
  for (const key in all) for (const value of all[key]!) headers.append(key, toText(value));
  return headers;
}

/** Bytes of keys and values, as counted against the server's limit. */
export function metadataBytes(metadata: Metadata): number {
  let bytes = 0;
  const all = metadata.toJSON();
  for (const key in all) for (const value of all[key]!) bytes += key.length + value.length;
  return bytes;
}

function toText(value: MetadataValue): string {
  return typeof value === "string" ? value : value.toString("base64");
}

/** A message's bytes as grpc-js wants them, without copying them. */
export function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
