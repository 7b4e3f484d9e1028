import { type PreparedStatement, sqlState, type SqlDatabase, type SqlSession, UNIQUE_VIOLATION } from "../../../runtime/sql/database.js";
import { DEFAULT_COLLECTION, defaultSettings } from "../settings.js";
import { COLLECTION_COLUMNS, type CollectionRow, toCollection } from "./rows.js";
import type { CollectionRecord, CollectionRef, CollectionSettings, CollectionStore } from "./store.js";

/** Every question asks for its collection. */
const FIND: PreparedStatement = {
  name: "rag_collection",
  text: `select ${COLLECTION_COLUMNS} from rag.collections where tenant = $1 and id = $2`,
};

export function collectionStore(db: SqlDatabase): CollectionStore {
  async function find({ tenant, id }: CollectionRef): Promise<CollectionRecord | undefined> {
    const [row] = await db.query<CollectionRow>(FIND, [tenant, id]);
    return row && toCollection(row);
  }

  /** The collection that every tenant has from the start. */
  async function ensureDefault(tenant: string): Promise<void> {
    const [row] = await db.query(`select 1 from rag.collections where tenant = $1 and id = $2`, [tenant, DEFAULT_COLLECTION]);
    if (row === undefined) await insert(db, { tenant, id: DEFAULT_COLLECTION }, defaultSettings, new Date());
  }

  return {
    createCollection: async (ref, settings, now) => {
      if (ref.id === DEFAULT_COLLECTION) await ensureDefault(ref.tenant);
      return insert(db, ref, settings, now);
    },
    async getCollection(ref) {
      const found = await find(ref);
      if (found !== undefined || ref.id !== DEFAULT_COLLECTION) return found;
      await ensureDefault(ref.tenant);
      return find(ref);
    },
    async listCollections(tenant, { after = "", limit }) {
      await ensureDefault(tenant);
      const rows = await db.query<CollectionRow>(
        `select ${COLLECTION_COLUMNS} from rag.collections where tenant = $1 and id > $2 order by id limit $3`,
        [tenant, after, limit],
      );
      return rows.map(toCollection);
    },
    async tenantUsage(tenant) {
      const [row] = await db.query<{ documents: number; text_bytes: number }>(
        `select coalesce(sum(document_count), 0)::float8 as documents, coalesce(sum(text_bytes), 0)::float8 as text_bytes
         from rag.collections where tenant = $1`,
        [tenant],
      );
      return { documents: row!.documents, textBytes: row!.text_bytes };
    },
    deleteCollection: ({ tenant, id }) =>
      db.transaction(async (tx) => {
        const [row] = await tx.query<{ uid: number; epoch: number }>(
          `delete from rag.collections where tenant = $1 and id = $2 returning uid, epoch`,
          [tenant, id],
        );
        if (row === undefined) return false;
        await tx.query(
          `insert into rag.last_epochs (tenant, id, epoch) values ($1, $2, $3)
           on conflict (tenant, id) do update set epoch = excluded.epoch`,
          [tenant, id, row.epoch],
        );
        await tx.query(
          `delete from rag.job_parts where job in (select id from rag.jobs where collection = $1)`, [row.uid]);
        await tx.query(`delete from rag.job_documents where job in (select id from rag.jobs where collection = $1)`, [row.uid]);
        for (const table of ["jobs", "segment_parts", "segments", "vectors", "unused_vectors", "chunks", "documents"]) {
          await tx.query(`delete from rag.${table} where collection = $1`, [row.uid]);
        }
        return true;
      }),
  };
}

/** Resolves undefined when the id is taken. */
async function insert(db: SqlSession, { tenant, id }: CollectionRef, settings: CollectionSettings, now: Date): Promise<CollectionRecord | undefined> {
  try {
    const [row] = await db.query<CollectionRow>(
      `insert into rag.collections
         (tenant, id, chunk_unit, chunk_size, chunk_overlap, embedding_model, language, epoch, create_time, update_time)
       select $1, $2, $8, $3, $4, $5, $6, coalesce((select epoch + 1 from rag.last_epochs where tenant = $1 and id = $2), 0), $7, $7
       returning ${COLLECTION_COLUMNS}`,
      [tenant, id, settings.chunkSize, settings.chunkOverlap, settings.embeddingModel, settings.language, now, settings.chunkUnit],
    );
    return row && toCollection(row);
  } catch (error) {
    if (sqlState(error) === UNIQUE_VIOLATION) return undefined;
    throw error;
  }
}
