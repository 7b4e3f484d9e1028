import { createInflateRaw } from "node:zlib";
import { ExtractionError } from "./extracted.js";

const END_OF_DIRECTORY = 0x06_05_4b_50;
const DIRECTORY_ENTRY = 0x02_01_4b_50;
const LOCAL_ENTRY = 0x04_03_4b_50;
/** The end record is looked for no further from the file's end: a comment may follow it. */
const END_WITHIN = 65_557;
const MAX_ENTRIES = 10_000;

export interface ZipEntry {
  readonly name: string;
  readonly compressed: Uint8Array;
  readonly method: number;
}

/** The entries of a ZIP archive, by its directory. @throws ExtractionError MALFORMED or ENCRYPTED */
export function zipEntries(content: Uint8Array): ZipEntry[] {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.length);
  const end = bytes.subarray(-END_WITHIN).lastIndexOf(Buffer.from([0x50, 0x4b, 0x05, 0x06]));
  if (end < 0) throw damaged();
  try {
    const directory = bytes.subarray(-END_WITHIN).subarray(end);
    if (directory.readUInt32LE(0) !== END_OF_DIRECTORY) throw damaged();
    const count = directory.readUInt16LE(10);
    if (count > MAX_ENTRIES) throw new ExtractionError("TOO_LARGE", `The archive has ${count} entries, more than the limit of ${MAX_ENTRIES}.`);
    const entries: ZipEntry[] = [];
    let at = directory.readUInt32LE(16);
    for (let i = 0; i < count; i += 1) {
      if (bytes.readUInt32LE(at) !== DIRECTORY_ENTRY) throw damaged();
      const [nameLength, extraLength, commentLength] = [28, 30, 32].map((place) => bytes.readUInt16LE(at + place));
      if ((bytes.readUInt16LE(at + 8) & 1) === 1) throw new ExtractionError("ENCRYPTED", "The document needs a password; save it without one.");
      const local = bytes.readUInt32LE(at + 42);
      if (bytes.readUInt32LE(local) !== LOCAL_ENTRY) throw damaged();
      const data = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
      const size = bytes.readUInt32LE(at + 20);
      if (data + size > bytes.length) throw damaged();
      entries.push({
        name: bytes.toString("utf8", at + 46, at + 46 + nameLength!),
        compressed: bytes.subarray(data, data + size),
        method: bytes.readUInt16LE(at + 10),
      });
      at += 46 + nameLength! + extraLength! + commentLength!;
    }
    return entries;
  } catch (error) {
    if (error instanceof RangeError) throw damaged(error);
    throw error;
  }
}

/** How many bytes an entry really inflates to; stops counting above `limit`: what the archive says of its sizes may be a lie. */
export async function inflatedSize({ compressed, method }: ZipEntry, limit: number): Promise<number> {
  if (method === 0) return compressed.length;
  let size = 0;
  const inflate = createInflateRaw();
  inflate.end(compressed);
  try {
    for await (const part of inflate) {
      size += (part as Buffer).length;
      if (size > limit) break;
    }
  } catch (error) {
    throw damaged(error);
  } finally {
    inflate.destroy();
  }
  return size;
}

function damaged(cause?: unknown): ExtractionError {
  return new ExtractionError("MALFORMED", "The document is damaged or incomplete; save or download it again.", { cause });
}
