import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { MINILM_DIMENSION, MINILM_MODEL, miniLmFile } from "../../runtime/embedding/minilm-model.js";
import { packageRoot } from "../../runtime/package-root.js";
import { WordPieceTokenizer } from "../../runtime/embedding/wordpiece.js";

const MAX_TOKENS = 256;
const CLS = 101;
const SEP = 102;

/** Embeds one text after another, as LangChain.js' embeddings on a CPU do: batches gain nothing there. */
export type MiniLm = (text: string) => Promise<Float32Array>;

/** How to get the model, for a run that leaves its figures out. */
export const WITHOUT_MINILM = `this machine does not have the model: run \`ragents models pull ${MINILM_MODEL}\`, or set RAGENTS_BENCH_MINILM to its ONNX file`;

/**
 * The file of all-MiniLM-L6-v2, for both sides: the one that RAGENTS_BENCH_MINILM names, else the one that was pulled. Undefined
 * when it is not on this machine.
 */
export function minilmFile(): string | undefined {
  const { RAGENTS_BENCH_MINILM: named, RAGENTS_MODELS_DIR: folder, RAGENTS_DATA_DIR: data = ".ragents" } = process.env;
  return [named, miniLmFile(folder ?? join(data, "models"))].find((place) => place !== undefined && place !== "" && existsSync(place));
}

/** A folder of models that holds that file, for a service; empty where there is none. To be removed. */
export async function modelsFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "ragents-bench-models-"));
  const file = minilmFile();
  if (file === undefined) return folder;
  await mkdir(dirname(miniLmFile(folder)));
  await symlink(resolve(file), miniLmFile(folder));
  return folder;
}

/** all-MiniLM-L6-v2 for the peer: mean of the last layer over the attention mask, unit length. */
export async function openMiniLm(file: string): Promise<MiniLm> {
  const vocabulary = (await readFile(join(packageRoot, "models", "static-256", "vocab.txt"), "utf8")).trimEnd().split("\n");
  const tokenizer = new WordPieceTokenizer(vocabulary);
  const session = await InferenceSession.create(file);
  return async (text) => {
    const ids = [CLS, ...tokenizer.encode(text).slice(0, MAX_TOKENS - 2), SEP];
    const whole = (values: readonly number[]) => new Tensor("int64", BigInt64Array.from(values, BigInt), [1, ids.length]);
    const inputs = { input_ids: whole(ids), attention_mask: whole(ids.map(() => 1)), token_type_ids: whole(ids.map(() => 0)) };
    const known = Object.fromEntries(Object.entries(inputs).filter(([name]) => session.inputNames.includes(name)));
    const output = (await session.run(known))[session.outputNames[0]!]!.data as Float32Array;
    const vector = new Float32Array(MINILM_DIMENSION);
    // One row a token, or their mean already.
    for (let i = 0; i < output.length; i += 1) vector[i % MINILM_DIMENSION]! += output[i]!;
    const length = Math.hypot(...vector);
    return vector.map((component) => component / length);
  };
}
