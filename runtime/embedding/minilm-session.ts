import { createRequire } from "node:module";
import { MINILM_DIMENSION } from "./minilm-model.js";
import { loadTokenizer } from "./tokenizer.js";
import type { WordPieceTokenizer } from "./wordpiece.js";

/** Tokens that the model reads of a text, [CLS] and [SEP] among them; the rest is cut off. */
const MAX_TOKENS = 256;
const CLS = 101;
const SEP = 102;

/** The model in one thread. Sentences go in one by one: on a CPU batches gain nothing. */
export class MiniLmSession {
  readonly #session: OnnxSession;
  readonly #tensor: OnnxRuntime["Tensor"];
  readonly #tokenizer: WordPieceTokenizer;

  private constructor(session: OnnxSession, tensor: OnnxRuntime["Tensor"], tokenizer: WordPieceTokenizer) {
    this.#session = session;
    this.#tensor = tensor;
    this.#tokenizer = tokenizer;
  }

  /** Loads the model from its ONNX file. */
  static async open(file: string): Promise<MiniLmSession> {
    // A native library: loaded where the model is used.
    const { InferenceSession, Tensor } = createRequire(import.meta.url)("onnxruntime-node") as OnnxRuntime;
    const session = await InferenceSession.create(file, { intraOpNumThreads: 1, interOpNumThreads: 1, executionMode: "sequential", logSeverityLevel: 3 });
    return new MiniLmSession(session, Tensor, await loadTokenizer());
  }

  /** The normalised mean of the text's token states; the zero vector for a text without tokens. */
  async embed(text: string): Promise<Float32Array> {
    const pieces = this.#tokenizer.encode(text);
    if (pieces.length === 0) return new Float32Array(MINILM_DIMENSION);
    const ids = [CLS, ...pieces.slice(0, MAX_TOKENS - 2), SEP];
    const tensor = (values: BigInt64Array) => new this.#tensor("int64", values, [1, ids.length]);
    const { last_hidden_state: states } = await this.#session.run({
      input_ids: tensor(BigInt64Array.from(ids, BigInt)),
      attention_mask: tensor(new BigInt64Array(ids.length).fill(1n)),
      token_type_ids: tensor(new BigInt64Array(ids.length)),
    });
    return normalizedMean(states!.data, ids.length);
  }
}

function normalizedMean(states: Float32Array, tokens: number): Float32Array {
  const mean = new Float32Array(MINILM_DIMENSION);
  for (let token = 0; token < tokens; token += 1) {
    for (let i = 0; i < MINILM_DIMENSION; i += 1) mean[i]! += states[token * MINILM_DIMENSION + i]!;
  }
  const length = Math.hypot(...mean);
  return length === 0 ? mean : mean.map((component) => component / length);
}

/** What is used of onnxruntime-node. */
interface OnnxRuntime {
  InferenceSession: { create(file: string, options: Record<string, unknown>): Promise<OnnxSession> };
  Tensor: new (type: "int64", values: BigInt64Array, shape: number[]) => unknown;
}
interface OnnxSession {
  run(inputs: Record<string, unknown>): Promise<Record<string, { data: Float32Array }>>;
}
