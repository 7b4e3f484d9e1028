import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { MINILM_MODEL, miniLmFile, verifyMiniLm } from "../runtime/embedding/minilm-model.js";

/** The file has 23 MB; what is much larger is something else. */
const MAX_BYTES = 100_000_000;

export interface PullOptions {
  /** A file of this machine instead. */
  from?: string;
  /** An http:// or https:// URL; needed where there is no file. */
  source?: string;
  modelsDir?: string;
}

/** Puts a model where the rag service looks for it, if it is the right one byte by byte. What was there stays until then. */
export async function pullModel(model: string, { from, source, modelsDir }: PullOptions, env: NodeJS.ProcessEnv = process.env): Promise<void> {
  if (model !== MINILM_MODEL) throw new Error(`There is no model ${model} to pull; known: ${MINILM_MODEL}.`);
  const file = miniLmFile(modelsDir ?? join(env.RAGENTS_DATA_DIR ?? ".ragents", "models"));
  const unchecked = `${file}.${process.pid}`;
  await mkdir(dirname(file), { recursive: true });
  try {
    await pipeline(from === undefined ? await download(source) : createReadStream(from), limited(), createWriteStream(unchecked));
    await verifyMiniLm(unchecked);
    await rename(unchecked, file);
  } finally {
    await rm(unchecked, { force: true });
  }
  process.stdout.write(`${model} is in ${file}. Start the rag service again, and name it as a collection's embedding_model.\n`);
}

async function download(url: string | undefined): Promise<Readable> {
  if (url === undefined) throw new Error("Say where the model is: --from FILE, or --source URL (RAGENTS_MODEL_SOURCE); see models/all-MiniLM-L6-v2/README.md.");
  const response = await fetch(url).catch((cause: unknown) => {
    throw new Error(`${url} cannot be reached; on a machine without that network give the file by --from.`, { cause });
  });
  if (!response.ok || response.body === null) throw new Error(`${url} answered with status ${response.status}; give another address by --source.`);
  return Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]);
}

function limited(): Transform {
  let bytes = 0;
  return new Transform({
    transform(part: Uint8Array, _, done) {
      bytes += part.length;
      done(bytes > MAX_BYTES ? new Error(`The file is larger than ${MAX_BYTES} bytes; it is not the model.`) : null, part);
    },
  });
}
