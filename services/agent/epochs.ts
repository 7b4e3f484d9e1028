import type { Client } from "@connectrpc/connect";
import { LRUCache } from "lru-cache";
import type { RagService } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import { currentTenant } from "../../runtime/call-context.js";
import { SharedReads } from "../../runtime/shared-reads.js";

/** What answers from a collection depend on, besides question and settings. */
export interface Knowledge {
  /** Moves with every change of the documents. */
  readonly epoch: bigint;
  /** Whether some documents name who may read them: then answers differ from caller to caller. */
  readonly restricted: boolean;
}

/** The epochs of collections: what changes with every change of their documents. */
export class Epochs {
  readonly #rag: Client<typeof RagService>;
  readonly #asked = new SharedReads<Knowledge>();
  readonly #known = new LRUCache<string, Knowledge>({ max: 10_000 });

  constructor(rag: Client<typeof RagService>) {
    this.#rag = rag;
  }

  /** As it was when it was last asked for; undefined when it never was. */
  lastKnown(collection: string): Knowledge | undefined {
    return this.#known.get(keyOf(collection));
  }

  /**
   * As it is now: those who ask at about the same time share a call that begins after all of them asked. Rejects as rag's
   * GetCollection does.
   */
  current(collection: string): Promise<Knowledge> {
    const key = keyOf(collection);
    return this.#asked.get(key, async () => {
      const { collection: found } = await this.#rag.getCollection({ collection });
      const knowledge = { epoch: found?.epoch ?? 0n, restricted: (found?.restrictedDocumentCount ?? 0n) > 0n };
      this.#known.set(key, knowledge);
      return knowledge;
    });
  }
}

function keyOf(collection: string): string {
  return `${currentTenant()} ${collection}`;
}
