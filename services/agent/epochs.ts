import type { Client } from "@connectrpc/connect";
import { LRUCache } from "lru-cache";
import type { RagService } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import { currentTenant, runBeyondCall } from "../../runtime/call-context.js";

/** The epochs of collections: what changes with every change of their documents. */
export class Epochs {
  readonly #rag: Client<typeof RagService>;
  readonly #asked = new Map<string, Promise<bigint>>();
  readonly #known = new LRUCache<string, bigint>({ max: 10_000 });

  constructor(rag: Client<typeof RagService>) {
    this.#rag = rag;
  }

  /** The epoch as it was when it was last asked for; undefined when it never was. */
  lastKnown(collection: string): bigint | undefined {
    return this.#known.get(keyOf(collection));
  }

  /**
   * The epoch as it is now. Those that ask in one turn of the event loop share a call: it begins after all of them
   * asked, so none gets an epoch older than its question. Rejects as rag's GetCollection does.
   */
  current(collection: string): Promise<bigint> {
    const key = keyOf(collection);
    let asked = this.#asked.get(key);
    if (asked === undefined) {
      asked = new Promise<void>((resolve) => setImmediate(resolve)).then(async () => {
        this.#asked.delete(key);
        // Not in the first one's call: that may end before, and others wait too.
        const response = await runBeyondCall(() => this.#rag.getCollection({ collection }));
        const epoch = response.collection?.epoch ?? 0n;
        this.#known.set(key, epoch);
        return epoch;
      });
      this.#asked.set(key, asked);
    }
    return asked;
  }
}

function keyOf(collection: string): string {
  return `${currentTenant()} ${collection}`;
}
