import type { JsonObject } from "@bufbuild/protobuf";
import type { SqlDatabase } from "../../../runtime/sql/database.js";
import { type ReplacedDocument, removeContents } from "./removal.js";
import { DOCUMENT_COLUMNS, type DocumentRow, toDocument } from "./rows.js";
import type { DocumentStore } from "./store.js";

export function documentStore(db: SqlDatabase): DocumentStore {
  return {
    async listDocuments(collection, { after = "", limit }) {
      const rows = await db.query<DocumentRow>(
        `select ${DOCUMENT_COLUMNS} from rag.documents where collection = $1 and id > $2 order by id limit $3`,
        [collection, after, limit],
      );
      return rows.map(toDocument);
    },
    async getDocument(collection, id) {
      const [row] = await db.query<DocumentRow>(
        `select ${DOCUMENT_COLUMNS} from rag.documents where collection = $1 and id = $2`,
        [collection, id],
      );
      return row && toDocument(row);
    },
    async documentVersions(collection, ids) {
      const rows = await db.query<{ id: string; content_hash: string; mime_type: string; given_metadata: JsonObject }>(
        `select id, content_hash, mime_type, given_metadata from rag.documents where collection = $1 and id = any($2::text[])`,
        [collection, ids],
      );
      return new Map(
        rows.map((row) => [row.id, { contentHash: row.content_hash, mimeType: row.mime_type, givenMetadata: row.given_metadata }]),
      );
    },
    deleteDocument: (collection, id, now) =>
      db.transaction(async (tx) => {
        // The lock orders this with batches that replace the document, and the change with its epoch.
        await tx.query(`select 1 from rag.collections where uid = $1 for update`, [collection]);
        const [document] = await tx.query<ReplacedDocument>(
          `delete from rag.documents where collection = $1 and id = $2
           returning id, run_firsts, run_counts, chunk_count, text_bytes, create_time`,
          [collection, id],
        );
        if (document === undefined) return false;
        await removeContents(tx, collection, [document]);
        await tx.query(
          `update rag.collections set epoch = epoch + 1, document_count = document_count - 1,
             chunk_count = chunk_count - $2, text_bytes = text_bytes - $3, update_time = $4 where uid = $1`,
          [collection, document.chunk_count, document.text_bytes, now],
        );
        return true;
      }),
  };
}
