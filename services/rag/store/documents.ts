import type { JsonObject } from "@bufbuild/protobuf";
import type { Viewer } from "../../../runtime/identity/viewer.js";
import type { SqlDatabase, SqlSession } from "../../../runtime/sql/database.js";
import { countChanges } from "./counting.js";
import { REPLACED_COLUMNS, type ReplacedDocument, removeContents } from "./removal.js";
import { DOCUMENT_COLUMNS, type DocumentRow, toDocument } from "./rows.js";
import { mayRead } from "./readers.js";
import type { DocumentCondition, DocumentStore, PageVersion } from "./store.js";

export function documentStore(db: SqlDatabase): DocumentStore {
  return {
    async listDocuments(collection, viewer, { after = "", limit }) {
      const rows = await db.query<DocumentRow>(
        `select ${DOCUMENT_COLUMNS} from rag.documents
         where collection = $1 and id > $2 and ${mayRead("$4")} order by id limit $3`,
        [collection, after, limit, viewer ?? null],
      );
      return rows.map(toDocument);
    },
    async getDocument(collection, viewer, id) {
      const [row] = await db.query<DocumentRow>(
        `select ${DOCUMENT_COLUMNS} from rag.documents where collection = $1 and id = $2 and ${mayRead("$3")}`,
        [collection, id, viewer ?? null],
      );
      return row && toDocument(row);
    },
    async documentVersions(collection, ids) {
      const rows = await db.query<{ id: string; content_hash: string; mime_type: string; given_metadata: JsonObject; readers: string[]; page_version: PageVersion | null }>(
        `select id, content_hash, mime_type, given_metadata, readers, page_version from rag.documents where collection = $1 and id = any($2::text[])`,
        [collection, ids],
      );
      return new Map(
        rows.map((row) => [
          row.id,
          { contentHash: row.content_hash, mimeType: row.mime_type, givenMetadata: row.given_metadata, readers: row.readers, page: row.page_version ?? undefined },
        ]),
      );
    },
    async deleteDocument(collection, viewer, id, now) {
      return (await db.transaction((tx) => deleteDocuments(tx, collection, viewer, { text: "id = $1", parameters: [id] }, now))) > 0;
    },
    deleteDocuments: (collection, viewer, condition, now) =>
      db.transaction((tx) => deleteDocuments(tx, collection, viewer, condition, now)),
  };
}

async function deleteDocuments(tx: SqlSession, collection: number, viewer: Viewer, { text, parameters }: DocumentCondition, now: Date): Promise<number> {
  // The lock orders this with batches that replace the documents, and the change with its epoch.
  await tx.query(`select 1 from rag.collections where uid = $1 for update`, [collection]);
  const [ofCollection, ofViewer] = [1, 2].map((place) => `$${parameters.length + place}`);
  const removed = await tx.query<ReplacedDocument>(
    `delete from rag.documents where collection = ${ofCollection} and ${mayRead(ofViewer!)} and (${text}) returning ${REPLACED_COLUMNS}`,
    [...parameters, collection, viewer ?? null],
  );
  if (removed.length === 0) return 0;
  await removeContents(tx, collection, removed);
  await countChanges(tx, collection, { added: [], removed, now });
  return removed.length;
}
