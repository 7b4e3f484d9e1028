import { MemoryVectorStore } from "@langchain/classic/vectorstores/memory";
import { Embeddings } from "@langchain/core/embeddings";
import { RecursiveCharacterTextSplitter } from "@langchain/textsplitters";
import { loadStaticEmbedder } from "../../runtime/embedding/static-embedder.js";
import type { JudgedDocument } from "../judged-collection.js";
import type { MiniLm } from "./minilm.js";

class TextEmbeddings extends Embeddings {
  readonly #embed: (text: string) => Promise<Float32Array>;

  constructor(embed: (text: string) => Promise<Float32Array>) {
    super({});
    this.#embed = embed;
  }

  async embedDocuments(texts: string[]): Promise<number[][]> {
    const vectors = [];
    for (const text of texts) vectors.push(await this.embedQuery(text));
    return vectors;
  }

  async embedQuery(text: string): Promise<number[]> {
    return [...(await this.#embed(text))];
  }
}

/** LangChain.js' default pipeline: chunks of 1,000 characters that share 200, embedded one by one into a store in memory. */
export class LangChainPipeline {
  readonly #store: MemoryVectorStore;
  readonly #splitter = new RecursiveCharacterTextSplitter({ chunkSize: 1_000, chunkOverlap: 200 });

  constructor(embed: MiniLm) {
    this.#store = new MemoryVectorStore(new TextEmbeddings(embed));
  }

  /** With the embedder that is built into the rag service. */
  static async withBuiltIn(): Promise<LangChainPipeline> {
    const embedder = await loadStaticEmbedder();
    return new LangChainPipeline(async (text) => embedder.embedText(text));
  }

  /** Makes documents searchable; resolves to their chunks. */
  async ingest(documents: readonly JudgedDocument[]): Promise<number> {
    const chunks = await this.#splitter.createDocuments(
      documents.map(({ text }) => text),
      documents.map(({ id }) => ({ id })),
    );
    await this.#store.addDocuments(chunks);
    return chunks.length;
  }

  /** The documents of the best chunks, the best first. */
  async search(question: string, k: number): Promise<string[]> {
    const found = await this.#store.similaritySearch(question, k);
    return found.map(({ metadata }) => String(metadata["id"]));
  }
}
