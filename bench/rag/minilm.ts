import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { packageRoot } from "../../runtime/package-root.js";
import { WordPieceTokenizer } from "../../runtime/embedding/wordpiece.js";

const MAX_TOKENS = 256;
const CLS = 101;
const SEP = 102;
const DIMENSION = 384;

/** Embeds one text after another, as LangChain.js' embeddings on a CPU do: batches gain nothing there. */
export type MiniLm = (text: string) => Promise<Float32Array>;

/** The file of all-MiniLM-L6-v2 in ONNX; undefined when it is not on this machine. */
export function minilmFile(): string | undefined {
  const places = [process.env["RAGENTS_BENCH_MINILM"], join(packageRoot, "models", "all-MiniLM-L6-v2", "model.onnx")];
  return places.find((place) => place !== undefined && place !== "" && existsSync(place));
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
    const vector = new Float32Array(DIMENSION);
    // One row a token, or their mean already.
    for (let i = 0; i < output.length; i += 1) vector[i % DIMENSION]! += output[i]!;
    const length = Math.hypot(...vector);
    return vector.map((component) => component / length);
  };
}
