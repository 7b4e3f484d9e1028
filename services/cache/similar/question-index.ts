import type { StaticEmbedder } from "../../../runtime/embedding/static-embedder.js";
import { type Question, QUESTIONS_A_SCOPE } from "../store.js";
import { type Meaning, meaningOf, sameMeaning } from "./meaning.js";

interface Indexed {
  readonly hash: Uint8Array;
  readonly meaning: Meaning;
  readonly vector: Float32Array;
}

/** The questions of one scope, found by likeness. */
export class QuestionIndex {
  readonly #embedder: Pick<StaticEmbedder, "embedText">;
  readonly #minSimilarity: number;
  /** By the hash's letters; the oldest first. */
  readonly #questions = new Map<string, Indexed>();
  /** How far the scope's log has been read. */
  cursor = "";

  /** @param minSimilarity cosine below which questions are not compared at all. */
  constructor(embedder: Pick<StaticEmbedder, "embedText">, minSimilarity: number) {
    this.#embedder = embedder;
    this.#minSimilarity = minSimilarity;
  }

  get size(): number {
    return this.#questions.size;
  }

  add({ hash, text }: Question): void {
    const name = Buffer.from(hash).toString("latin1");
    this.#questions.delete(name);
    this.#questions.set(name, { hash, meaning: meaningOf(text), vector: this.#embedder.embedText(text) });
    for (const oldest of this.#questions.keys()) {
      if (this.#questions.size <= QUESTIONS_A_SCOPE) break;
      this.#questions.delete(oldest);
    }
  }

  delete(hash: Uint8Array): void {
    this.#questions.delete(Buffer.from(hash).toString("latin1"));
  }

  /**
   * The questions that the answer to `text` also answers, the most similar first. Likeness alone does not tell: of the
   * pairs in opposites.suite.ts many have a cosine above 0.95, and some paraphrases one of 0.7.
   */
  find(text: string): Uint8Array[] {
    const meaning = meaningOf(text);
    const vector = this.#embedder.embedText(text);
    return [...this.#questions.values()]
      .map((question) => ({ question, similarity: dot(vector, question.vector) }))
      .filter(({ question, similarity }) => similarity >= this.#minSimilarity && sameMeaning(meaning, question.meaning))
      .sort((a, b) => b.similarity - a.similarity)
      .map(({ question }) => question.hash);
  }
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i]! * b[i]!;
  return sum;
}
