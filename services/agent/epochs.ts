import type { Client } from "@connectrpc/connect";
import { LRUCache } from "lru-cache";
import type { RagService } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import { currentTenant, runBeyondCall } from "../../runtime/call-context.js";

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
  readonly #asked = new Map<string, Promise<Knowledge>>();
  readonly #known = new LRUCache<string, Knowledge>({ max: 10_000 });

  constructor(rag: Client<typeof RagService>) {
    this.#rag = rag;
  }

  /** As it was when it was last asked for; undefined when it never was. */
  lastKnown(collection: string): Knowledge | undefined {
    return this.#known.get(keyOf(collection));
  }

  /**
   * As it is now. Those that ask in one turn of the event loop share a call: it begins after all of them asked, so none
   * gets an epoch older than its question. Rejects as rag's GetCollection does.
   */
  current(collection: string): Promise<Knowledge> {
    const key = keyOf(collection);
    let asked = this.#asked.get(key);
    if (asked === undefined) {
      asked = new Promise<void>((resolve) => setImmediate(resolve)).then(async () => {
        this.#asked.delete(key);
        // Not in the first one's call: that may end before, and others wait too.
        const { collection: found } = await runBeyondCall(() => this.#rag.getCollection({ collection }));
        const knowledge = { epoch: found?.epoch ?? 0n, restricted: (found?.restrictedDocumentCount ?? 0n) > 0n };
        this.#known.set(key, knowledge);
        return knowledge;
      });
      this.#asked.set(key, asked);
    }
    return asked;
  }
}

function keyOf(collection: string): string {
  return `${currentTenant()} ${collection}`;
}
