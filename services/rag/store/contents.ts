import type { SqlSession } from "../../../runtime/sql/database.js";
import { countChunks } from "./chunk-runs.js";
import type { ChunkRun, NewChunk, NewSegment, WindowedDocument } from "./store.js";

/** Blobs are cut into parts of this size: node-pg needs 0.8 s for 40 MB in one value. */
export const PART_BYTES = 2 * 1024 * 1024;

/** Adds documents without their contents; `created` names those that are older. */
export async function insertDocuments(
  tx: SqlSession,
  collection: number,
  documents: readonly WindowedDocument[],
  created: ReadonlyMap<string, Date>,
  now: Date,
): Promise<void> {
  await tx.query(
    `insert into rag.documents (collection, id, key, source, title, mime_type, found_metadata, given_metadata, metadata,
       readers, content_hash, size_bytes, text_bytes, chunk_count, run_firsts, run_counts, create_time, update_time, page_version)
     select $1, id, run_firsts[1], source, title, mime_type, found, given, found || given, readers, content_hash, size_bytes, text_bytes,
       chunk_count, run_firsts, run_counts, create_time, $3, page_version
     from json_to_recordset($2::json) as x(id text, source text, title text, mime_type text, found jsonb, given jsonb,
       readers text[], content_hash text, size_bytes bigint, text_bytes bigint, chunk_count int, run_firsts bigint[], run_counts int[],
       create_time timestamptz, page_version jsonb)`,
    [
      collection,
      JSON.stringify(
        documents.map((document) => ({
          id: document.id,
          source: document.source,
          title: document.title,
          mime_type: document.mimeType,
          found: document.foundMetadata,
          given: document.givenMetadata,
          readers: document.readers,
          content_hash: document.contentHash,
          size_bytes: document.sizeBytes,
          text_bytes: document.textBytes,
          chunk_count: countChunks(document.runs),
          run_firsts: firsts(document.runs),
          run_counts: counts(document.runs),
          create_time: created.get(document.id) ?? now,
          page_version: document.page,
        })),
      ),
      now,
    ],
  );
}

/** A chunk as its table has it; the names are short because they travel with every row. */
interface ChunkRow {
  readonly i: number;
  readonly d: number;
  readonly o: number;
  readonly s: number;
  readonly e: number;
  readonly h: readonly string[];
  readonly p: number | undefined;
  readonly t: string;
}

/** A chunk as the table has it. `documentKey` is the id of its document's first chunk. */
export function chunkRow({ start, end, headingPath, page, text }: NewChunk, id: number, documentKey: number, ordinal: number): ChunkRow {
  return { i: id, d: documentKey, o: ordinal, s: start, e: end, h: headingPath, p: page, t: text };
}

/** One statement with one JSON text: on the embedded engine faster than arrays, and fifty times faster than row by row. */
export async function insertChunks(tx: SqlSession, collection: number, rows: readonly ChunkRow[]): Promise<void> {
  await tx.query(
    `insert into rag.chunks (collection, id, document, ordinal, start_offset, end_offset, heading_path, page, text)
     select $1, i, d, o, s, e, h, p, t
     from json_to_recordset($2::json) as x(i bigint, d bigint, o int, s int, e int, h jsonb, p int, t text)`,
    [collection, JSON.stringify(rows)],
  );
}

/** Adds the vectors of runs of chunks, encoded. */
export async function insertVectors(
  tx: SqlSession,
  collection: number,
  model: string,
  rows: readonly { readonly run: ChunkRun; readonly vectors: Uint8Array }[],
): Promise<void> {
  await tx.query(
    `insert into rag.vectors (collection, model, first_chunk, chunk_count, data)
     select $1, $2, * from unnest($3::bigint[], $4::int[], $5::bytea[])`,
    [collection, model, firsts(rows.map(({ run }) => run)), counts(rows.map(({ run }) => run)), rows.map(({ vectors }) => vectors)],
  );
}

/** Adds a segment and returns its id. The caller holds the collection's lock. */
export async function insertSegment(tx: SqlSession, collection: number, { level, runs, bytes }: NewSegment): Promise<number> {
  const [row] = await tx.query<{ id: number }>(
    `update rag.collections set next_segment = next_segment + 1 where uid = $1 returning next_segment - 1 as id`,
    [collection],
  );
  const id = row!.id;
  await tx.query(
    `insert into rag.segments (collection, id, level, chunk_count, run_firsts, run_counts, bytes) values ($1, $2, $3, $4, $5, $6, $7)`,
    [collection, id, level, countChunks(runs), firsts(runs), counts(runs), bytes.length],
  );
  for (let part = 0; part * PART_BYTES < bytes.length; part += 1) {
    await tx.query(`insert into rag.segment_parts (collection, segment, part, data) values ($1, $2, $3, $4)`, [
      collection,
      id,
      part,
      bytes.subarray(part * PART_BYTES, (part + 1) * PART_BYTES),
    ]);
  }
  return id;
}

function firsts(runs: readonly ChunkRun[]): number[] {
  return runs.map(({ first }) => first);
}

function counts(runs: readonly ChunkRun[]): number[] {
  return runs.map(({ count: chunks }) => chunks);
}
