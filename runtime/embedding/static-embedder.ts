import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { setImmediate } from "node:timers/promises";
import { type Embedder, EmbeddingError } from "./embedder.js";
import { WordPieceTokenizer } from "./wordpiece.js";

/** The built-in model: see models/static-256/README.md. */
export const STATIC_MODEL = "static-256";
export const STATIC_DIMENSION = 256;

/** Texts embedded before other work of the process gets its turn: a few milliseconds with chunks of 1,000 characters. */
const TEXTS_BETWEEN_TURNS = 64;

/**
 * The embedder that needs no download, no key and no native code: a text's vector is the normalised sum of its tokens'
 * rows in a table.
 */
export class StaticEmbedder implements Embedder {
  readonly model = STATIC_MODEL;
  readonly dimension = STATIC_DIMENSION;
  readonly #tokenizer: WordPieceTokenizer;
  readonly #rows: Int8Array;
  readonly #scales: Float32Array;
  // How often each token occurs in the text at hand: a token that occurs five times is added once, five times as strong.
  readonly #counts: Uint32Array;
  readonly #sum = new Float64Array(STATIC_DIMENSION);

  /** @param rows one int8 row a vocabulary piece, row-major; @param scales one float a row. */
  constructor(vocabulary: readonly string[], rows: Int8Array, scales: Float32Array) {
    if (scales.length !== vocabulary.length || rows.length !== vocabulary.length * STATIC_DIMENSION) {
      throw new EmbeddingError(
        "MODEL_FILES_MISSING",
        `The files of ${STATIC_MODEL} do not belong together: ${vocabulary.length} pieces, ${scales.length} scales, ` +
          `${rows.length} components; copy models/${STATIC_MODEL} again.`,
      );
    }
    this.#tokenizer = new WordPieceTokenizer(vocabulary);
    this.#rows = rows;
    this.#scales = scales;
    this.#counts = new Uint32Array(vocabulary.length);
  }

  async embed(texts: readonly string[], signal?: AbortSignal): Promise<Float32Array[]> {
    const vectors: Float32Array[] = [];
    for (const text of texts) {
      if (vectors.length % TEXTS_BETWEEN_TURNS === 0) {
        if (vectors.length > 0) await setImmediate();
        signal?.throwIfAborted();
      }
      vectors.push(this.embedText(text));
    }
    return vectors;
  }

  countTokens(text: string): number {
    return this.#tokenizer.encode(text).length;
  }

  /** One text's vector, at once: for callers that hold a few short texts, such as the sentences of a passage. */
  embedText(text: string): Float32Array {
    const counts = this.#counts;
    const distinct: number[] = [];
    for (const id of this.#tokenizer.encode(text)) {
      if (counts[id]!++ === 0) distinct.push(id);
    }
    const sum = this.#sum.fill(0);
    for (const id of distinct) {
      this.#addRow(id, counts[id]!);
      counts[id] = 0;
    }
    return normalized(sum);
  }

  #addRow(id: number, times: number): void {
    const rows = this.#rows;
    const sum = this.#sum;
    const weight = this.#scales[id]! * times;
    const start = id * STATIC_DIMENSION;
    for (let i = 0; i < STATIC_DIMENSION; i++) sum[i]! += rows[start + i]! * weight;
  }
}

let loading: Promise<StaticEmbedder> | undefined;

/**
 * The built-in embedder, read from the package's models folder once a process (8 MB).
 * @throws EmbeddingError MODEL_FILES_MISSING when the package was copied without that folder.
 */
export function loadStaticEmbedder(): Promise<StaticEmbedder> {
  loading ??= readModel(modelFolder()).catch((cause: unknown) => {
    loading = undefined;
    throw cause;
  });
  return loading;
}

async function readModel(folder: string): Promise<StaticEmbedder> {
  const [vocabulary, rows, scales] = await Promise.all([
    readFile(join(folder, "vocab.txt"), "utf8"),
    readFile(join(folder, "static-256.int8.bin")),
    readFile(join(folder, "static-256.scale.f16.bin")),
  ]);
  return new StaticEmbedder(
    vocabulary.trimEnd().split("\n"),
    new Int8Array(rows.buffer, rows.byteOffset, rows.length),
    Float32Array.from({ length: rows.length / STATIC_DIMENSION }, (_, row) => halfFloat(scales.readUInt16LE(2 * row))),
  );
}

/** The folder stands in the package's root, which is two or three folders up: source and compiled files differ in depth. */
function modelFolder(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  for (let folder = here; ; folder = dirname(folder)) {
    const candidate = join(folder, "models", STATIC_MODEL);
    if (existsSync(join(candidate, "vocab.txt"))) return candidate;
    if (folder === dirname(folder)) break;
  }
  throw new EmbeddingError("MODEL_FILES_MISSING", `No folder models/${STATIC_MODEL} above ${here}; copy it into the package's root.`);
}

/** IEEE 754 binary16, which typed arrays of Node 20 do not read. */
function halfFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function normalized(sum: Float64Array): Float32Array {
  let squares = 0;
  for (const component of sum) squares += component * component;
  const vector = new Float32Array(sum.length);
  if (squares === 0) return vector;
  const norm = Math.sqrt(squares);
  for (let i = 0; i < sum.length; i++) vector[i] = sum[i]! / norm;
  return vector;
}
