import type { SqlSession } from "../../../runtime/sql/database.js";
import { countChunks } from "./chunk-runs.js";
import type { ReplacedDocument } from "./removal.js";
import type { WindowedDocument } from "./store.js";

export interface DocumentChanges {
  readonly added: readonly WindowedDocument[];
  readonly removed: readonly ReplacedDocument[];
  readonly now: Date;
}

/** Brings a collection's counts up to date and moves its epoch by one. The caller holds the collection's lock. */
export async function countChanges(tx: SqlSession, collection: number, { added, removed, now }: DocumentChanges): Promise<void> {
  await tx.query(
    `update rag.collections set epoch = epoch + 1, document_count = document_count + $2, chunk_count = chunk_count + $3,
       text_bytes = text_bytes + $4, restricted_count = restricted_count + $5, update_time = $6 where uid = $1`,
    [
      collection,
      added.length - removed.length,
      sum(added, ({ runs }) => countChunks(runs)) - sum(removed, (document) => document.chunk_count),
      sum(added, ({ textBytes }) => textBytes) - sum(removed, (document) => document.text_bytes),
      sum(added, isRestricted) - sum(removed, isRestricted),
      now,
    ],
  );
}

function isRestricted({ readers }: { readonly readers: readonly string[] }): number {
  return readers.length > 0 ? 1 : 0;
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
